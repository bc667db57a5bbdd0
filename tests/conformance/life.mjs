// The whole life of jobs and files through Google's JavaScript SDK. Finds the service by the environment, as a user's
// program does; works in the folder given; prints what it saw as one JSON document, for the test to judge.

import {GoogleGenAI} from '@google/genai';
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';

const [folder, url] = process.argv.slice(2);
const MODEL = 'gemini-3.8-flash';
const EMBEDDER = 'gemini-embedding-001';
const JSONL = 'application/jsonl';
const ENDED = ['SUCCEEDED', 'CANCELLED', 'FAILED', 'EXPIRED'].map((state) => `JOB_STATE_${state}`);
const ai = new GoogleGenAI(process.env.WITH_VERSION ? {httpOptions: {apiVersion: process.env.WITH_VERSION}} : {});
const installed = JSON.parse(readFileSync(new URL('node_modules/@google/genai/package.json', import.meta.url), 'utf8'));
const seen = {version: installed.version};

const row = (key, text = key) => JSON.stringify({key, request: {contents: [{parts: [{text}]}]}}) + '\n';

async function upload(name, content, config = {}) {
  const path = join(folder, name);
  writeFileSync(path, content);
  return ai.files.upload({file: path, config: {mimeType: JSONL, ...config}});
}

// The rows of an output file. Old versions return before they have written it, so it is read until it has all of them.
async function downloaded(file, rows) {
  const downloadPath = join(folder, file.replace('/', '-'));
  await ai.files.download({file, downloadPath});
  for (let patience = 600; ; patience -= 1) {
    const text = existsSync(downloadPath) ? readFileSync(downloadPath, 'utf8') : '';
    const whole = text.split('\n').length - 1;
    if (whole === rows) return text.trimEnd().split('\n').map((line) => JSON.parse(line));
    if (!patience) throw new Error(`${downloadPath}: ${whole} rows, not ${rows}`);
    await setTimeout(50);
  }
}

async function ended(name) {
  for (;;) {
    const job = await ai.batches.get({name});
    if (ENDED.includes(job.state)) return job;
  }
}

async function every(list, pageSize) {
  const found = [];
  for await (const one of await list({config: {pageSize}})) found.push(one.name);
  return found;
}

// Status and message of the error that a call ends with; otherwise the name of what it made.
async function refusal(promise) {
  try {
    return (await promise).name;
  } catch (error) {
    return [error.status ?? 0, error.message];
  }
}

async function clock(seconds) {
  await fetch(`${url}/emulator/clock`, {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({advance: seconds}),
  });
}

// Nothing yet.
seen.nothing = [await every(ai.batches.list, 2), await every(ai.files.list, 2)];

// A file job; the file is larger than one of the SDK's chunks.
const file = await upload('in.jsonl', row('1') + row('long', 'x'.repeat(9 << 20)), {displayName: 'in'});
seen.file = file;
seen.fileAgain = await ai.files.get({name: file.name});
seen.fileByUri = await ai.files.get({name: file.uri});
let job = await ai.batches.create({model: MODEL, src: file.name, config: {displayName: 'nightly'}});
seen.created = job;
await clock(3600);
seen.running = await ai.batches.get({name: job.name});
await clock(3600);
job = await ended(job.name);
seen.ended = job;
seen.rows = await downloaded(job.dest.fileName, 2);
seen.outputFile = await refusal(ai.files.get({name: job.dest.fileName}));

// An inline job, one of whose rows fails.
const gone = {fileData: {fileUri: 'https://generativelanguage.googleapis.com/v1beta/files/gone', mimeType: 'image/png'}};
const inline = await ai.batches.create({
  model: MODEL,
  src: [
    {
      contents: 'One.',
      metadata: {key: '1'},
      config: {
        topK: 5,
        thinkingConfig: {includeThoughts: true},
        responseMimeType: 'application/json',
        responseSchema: {type: 'OBJECT', properties: {a: {type: 'INTEGER'}}},
      },
    },
    {contents: [{role: 'user', parts: [gone]}], metadata: {key: '2'}},
  ],
});
await clock(7200);
seen.inline = await ended(inline.name);

seen.made = [job.name, inline.name];
const instructed = {contents: 'One.', config: {systemInstruction: 'Be brief.'}};
seen.system = await refusal(ai.batches.create({model: MODEL, src: [instructed]}));
if (typeof seen.system === 'string') seen.made.push(seen.system);

// Embeddings, both ways.
if (ai.batches.createEmbeddings) {
  const contents = {contents: ['one', 'two'], config: {outputDimensionality: 8}};
  const embedded = await ai.batches.createEmbeddings({model: EMBEDDER, src: {inlinedRequests: contents}});
  const vectors = await upload(
    'vectors.jsonl',
    JSON.stringify({key: 'a', request: {content: {parts: [{text: 'one'}]}, outputDimensionality: 8}}) + '\n',
  );
  const fromFile = await ai.batches.createEmbeddings({model: EMBEDDER, src: {fileName: vectors.name}});
  await clock(7200);
  seen.embedded = await ended(embedded.name);
  seen.embeddedRows = await downloaded((await ended(fromFile.name)).dest.fileName, 1);
  seen.made.push(embedded.name, fromFile.name);
} else {
  await upload('second.jsonl', row('1'));
}

// Lists in pages.
seen.lists = [];
for (const size of [1, 3, 4]) seen.lists.push(await every(ai.batches.list, size));
seen.files = await every(ai.files.list, 1);

// Cancel one that waits; delete one that is done; delete a file.
const waiting = await ai.batches.create({model: MODEL, src: [{contents: 'Hello.'}]});
await ai.batches.cancel({name: waiting.name});
seen.cancelled = await ended(waiting.name);
await ai.batches.delete({name: job.name});
seen.deletedJob = await refusal(ai.batches.get({name: job.name}));
await ai.files.delete({name: file.name});
seen.deletedFile = await refusal(ai.files.get({name: file.name}));

// A stream, and a cache, which only v1beta has.
const question = {model: MODEL, contents: 'Why is the sky blue, and the evening red? '.repeat(4)};
seen.whole = (await ai.models.generateContent(question)).text;
seen.chunks = [];
for await (const chunk of await ai.models.generateContentStream(question)) seen.chunks.push(chunk.text);
const beta = new GoogleGenAI({httpOptions: {apiVersion: 'v1beta'}});
const cache = await beta.caches.create({model: MODEL, config: {contents: 'long'.repeat(5000), ttl: '60s'}});
const cached = {...question, config: {cachedContent: cache.name}};
seen.cached = (await beta.models.generateContent(cached)).usageMetadata;
seen.caches = await every(beta.caches.list, 1);
await beta.caches.update({name: cache.name, config: {ttl: '120s'}});
await beta.caches.delete({name: cache.name});
seen.deletedCache = await refusal(beta.models.generateContent(cached));

// What users meet most.
const bad = await upload('bad.jsonl', row('1') + '{\n');
seen.badLine = await refusal(ai.batches.create({model: MODEL, src: bad.name}));
seen.badModel = await refusal(ai.batches.create({model: 'gemini-0', src: [{contents: 'Hello.'}]}));
seen.badType = await refusal(upload('x.bin', 'x', {mimeType: 'bad/mime_type'}));

process.stdout.write(JSON.stringify(seen));
