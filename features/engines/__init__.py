"""Features computed from their declarations: offline on DuckDB or Spark for many rows, online for one; all equal."""
