"""What a deployment is asked before it is trusted: checks that look, change nothing, and say what to do."""
