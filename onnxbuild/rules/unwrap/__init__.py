"""Take a model out of wrappers that only training needs, and merge adapters."""
