"""What every HTTP process needs: problems, tokens, rates, health, OpenAPI, guarded connections."""
