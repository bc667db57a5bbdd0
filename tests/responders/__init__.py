"""Tests of the emulator's other responders: functions, and OpenAI-compatible servers."""
