"""What a recommender does to groups of its users, now and over rounds of feedback."""
