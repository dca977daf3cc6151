"""What watches the features: freshness, nulls, skew between serving and training, lineage."""
