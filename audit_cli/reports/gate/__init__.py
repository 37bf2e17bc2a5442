"""A gate's report as files: tables, and the formats that build servers read. Each reads the results as they come."""
