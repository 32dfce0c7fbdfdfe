"""What is known of natural languages: telling one from another, and its words that say nothing by themselves."""
