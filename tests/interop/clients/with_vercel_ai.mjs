// Vercel's AI SDK: texts at once and streamed, an object, a tool, embeddings. No batches: it has none for Gemini.

import {createGoogleGenerativeAI} from '@ai-sdk/google';
import {embed, embedMany, generateText, jsonSchema, Output, streamText, tool} from 'ai';

const google = createGoogleGenerativeAI({baseURL: `${process.env.GOOGLE_GEMINI_BASE_URL}/v1beta`});
const model = google('gemini-3.8-flash');
const embedder = google.textEmbedding('gemini-embedding-001');
const seen = {};

const told = await generateText({model, system: 'Be brief.', prompt: 'Say one.'});
seen.text = {text: told.text, finishReason: told.finishReason, usage: told.usage};

const streamed = streamText({model, prompt: 'Sag ‘zwei’ – bitte.'});
seen.chunks = [];
for await (const chunk of streamed.textStream) seen.chunks.push(chunk);
seen.stream = {text: await streamed.text, finishReason: await streamed.finishReason, usage: await streamed.usage};

const schema = jsonSchema({
  type: 'object',
  properties: {city: {type: 'string'}, people: {type: 'integer'}},
  required: ['city', 'people'],
  additionalProperties: false,
});
seen.object = (await generateText({model, output: Output.object({schema}), prompt: 'A city.'})).output;

const weather = tool({
  description: 'The weather of a city.',
  inputSchema: jsonSchema({type: 'object', properties: {city: {type: 'string'}}, required: ['city']}),
});
const called = await generateText({model, tools: {weather}, toolChoice: 'required', prompt: 'How is it in Oslo?'});
seen.calls = called.toolCalls.map(({toolName, input}) => ({toolName, input}));

seen.one = (await embed({model: embedder, value: 'one'})).embedding.length;
const providerOptions = {google: {outputDimensionality: 8}};
seen.many = (await embedMany({model: embedder, values: ['one', 'two'], providerOptions})).embeddings.map((one) => one.length);

try {
  await generateText({model: google('gemini-0'), prompt: 'Hello.', maxRetries: 0});
} catch (error) {
  seen.refusal = [error.statusCode, error.message];
}

process.stdout.write(JSON.stringify(seen));
