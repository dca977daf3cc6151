"""Training sets without knowledge of the future: what each entity's features were, at each moment of a spine."""
