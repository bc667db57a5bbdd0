"""Other people's programs and the emulator: clients that speak Gemini batch, servers that speak as OpenAI's does."""
