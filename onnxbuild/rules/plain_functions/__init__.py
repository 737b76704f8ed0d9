"""Write functions that an exporter lacks with others."""
