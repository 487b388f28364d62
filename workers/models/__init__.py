"""The only home of torch and transformers: finds, loads and runs image classifiers."""
