"""Questions for new users: which items to ask about, the interview, and what answers tell."""
