"""May this number be dialled now? Rules are data, each answer names those that it rests on."""
