"""Who makes a change: from the request, command or job to the settings that the trigger function reads."""
