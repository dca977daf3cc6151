"""SQL engines behind the Database port: SQLite and PostgreSQL share everything above the engine."""
