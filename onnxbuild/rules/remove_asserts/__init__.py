"""Take out what checks at run time and gives nothing: assertions, and the nodes that feed only them."""
