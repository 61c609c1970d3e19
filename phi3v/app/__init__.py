"""The demo without its page: options, loading, the questions that the tabs ask."""
