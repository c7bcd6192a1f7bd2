"""How weights are learnt: the loop, its optimiser and schedules, and closed-form fits."""
