"""Large piles of requests through the Gemini Batch API: one honest answer per request, at half price."""
