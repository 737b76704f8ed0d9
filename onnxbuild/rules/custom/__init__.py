"""Let a function of the user change the model before the export."""
