// The loop of a worker in Node: what each command asks of the client library, which main.js hands to it. ../_serve.py says what
// a worker does. A library has producer, consumer, member, cluster, transform and kind; the methods of the first four are called
// below, each may be asynchronous. Records are {partition, offset, timestamp, key, value, headers: [[name, value]]}, texts Buffers.
'use strict';

const readline = require('node:readline');

const MAX_RECORDS = 10;
const SESSION_TIMEOUT_MS = 3000;
const HEARTBEAT_MS = 300;

// The library has no way to do that.
class Unsupported extends Error {}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function nextLine() {
  const { value, done } = await lines.next();
  if (done) process.exit(0);
  return value;
}

function decoded(word) {
  if (word === '-') return null;
  return Buffer.from(word === '.' ? '' : decodeURIComponent(word));
}

function encoded(value) {
  if (value === null || value === undefined) return '-';
  const plain = (byte) => /[A-Za-z0-9\-_.!~*'()]/.test(String.fromCharCode(byte));
  const written = (byte) => (plain(byte) ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`);
  return Array.from(Buffer.from(value), written).join('') || '.';
}

// A line: plain words, and options, each of which is to be taken out.
class Command {
  constructor(line) {
    const [name, ...rest] = line.trim().split(/\s+/);
    Object.assign(this, { name, words: [], headers: [], options: new Map() });
    for (const word of rest) {
      const [key, value] = word.split(/=(.*)/s);
      if (key === 'header' && value !== undefined) {
        const [title, text] = value.split(':');
        this.headers.push([decoded(title).toString(), decoded(text)]);
      } else if (value !== undefined) this.options.set(key, value);
      else this.words.push(word);
    }
  }

  option(key, absent) {
    const value = this.options.get(key) ?? absent;
    this.options.delete(key);
    return value;
  }

  refuseRest() {
    if (this.options.size) throw new Error(`options nobody knows: ${[...this.options.keys()]}`);
  }
}

// Holds a transaction once; `meanwhile` is called again and again as long as it does.
class Stall {
  constructor(value) {
    this.value = value;
  }

  async askedToAbort(values, meanwhile = () => {}) {
    if (!values.includes(this.value)) return false;
    this.value = null;
    console.log('stalled');
    const timer = setInterval(meanwhile, HEARTBEAT_MS);
    const line = await nextLine();
    clearInterval(timer);
    return line.trim() === 'abort';
  }
}

async function serve(library) {
  const worker = new Worker(library);
  for (;;) {
    try {
      const answer = await worker.obey(new Command(await nextLine()));
      console.log(['ok', ...(Array.isArray(answer) ? answer : [])].join(' '));
    } catch (error) {
      const said = String(error.message ?? error).replace(/\s+/g, ' ');
      if (error instanceof Unsupported) console.log('unsupported', said);
      else console.log('error', library.kind(error), error.type ?? error.name ?? 'Error', said);
    }
  }
}

class Worker {
  constructor(library) {
    Object.assign(this, { library, producers: new Map(), readers: new Map(), cluster: null });
  }

  async obey(command) {
    const [name] = command.words;
    if (command.name === 'producer') return void this.producers.set(name, await this.openProducer(command));
    if (command.name === 'consumer') return void this.readers.set(name, await this.openConsumer(command));
    if (command.name === 'member') return void this.readers.set(name, await this.openMember(command));
    if (command.name === 'transform') {
      const [source, target, group, id, stall] = command.words;
      return this.library.transform({ source, target, group, id, stall: new Stall(stall) });
    }
    if (this.producers.has(name)) return produce(this.producers.get(name), command);
    if (this.readers.has(name)) return consume(this.readers.get(name), command);
    this.cluster ??= await this.library.cluster();
    return ask(this.cluster, command);
  }

  openProducer(command) {
    const options = {
      id: command.option('id'),
      transactionTimeoutMs: Number(command.option('transaction_timeout_ms', 60000)),
      idempotent: command.option('idempotence') === 'on',
      acks: command.option('acks'),
      codec: command.option('codec', 'none'),
      patienceMs: Number(command.option('patience_ms', 30000)),
    };
    command.refuseRest();
    return this.library.producer(options);
  }

  openConsumer(command) {
    const [latest, committed] = [command.option('from') === 'latest', command.option('isolation') === 'committed'];
    command.refuseRest();
    return this.library.consumer({ topic: command.words[1], partitions: Number(command.words[2]), latest, committed });
  }

  openMember(command) {
    const [instance, sessionMs] = [command.option('instance'), Number(command.option('session_timeout_ms', 6000))];
    command.refuseRest();
    const [, group, topic] = command.words;
    return this.library.member({ group, topic, instance, sessionMs });
  }
}

async function produce(producer, command) {
  if (command.name === 'send') {
    const [, topic, partition, ...values] = command.words;
    const [key, timestamp] = [decoded(command.option('key', '-')), command.option('timestamp')];
    command.refuseRest();
    const records = values.map((value) => ({ key, value: decoded(value), timestamp, headers: command.headers }));
    return producer.send(topic, partition === '-' ? null : Number(partition), records);
  }
  const commands = ['flush', 'begin', 'commit', 'abort', 'close'];
  if (!commands.includes(command.name)) throw new Error(`no command: ${command.name}`);
  return producer[command.name]();
}

async function consume(reader, command) {
  const [, first, second] = command.words;
  switch (command.name) {
    case 'poll':
      return (await reader.take(Number(first), Number(second))).map((record) => `${record.partition}:${encoded(record.value)}`);
    case 'records':
      return (await reader.take(Number(first), Number(second))).map(full);
    case 'assignment':
      return [...(await reader.assignment())].sort((left, right) => left - right);
    case 'position':
      return [await reader.position(Number(first))];
    case 'seek':
      return reader.seek(Number(first), second);
    case 'commit_offsets':
      return reader.commitOffsets();
    case 'committed':
      return numberOrNone(await reader.committed(Number(first)));
    case 'close':
      return reader.close();
    default:
      throw new Error(`no command: ${command.name}`);
  }
}

function full({ partition, offset, timestamp, key, value, headers }) {
  const texts = [key, value, ...headers.flat()].map(encoded);
  return [partition, offset, timestamp, ...texts].join(':');
}

async function ask(cluster, command) {
  const [name, first, second] = command.words;
  switch (command.name) {
    case 'topic':
      return cluster.makeTopic(name, Number(first), Object.fromEntries(command.options));
    case 'topics':
      return cluster.topics();
    case 'partitions':
      return [await cluster.partitions(name)];
    case 'grow':
      return cluster.grow(name, Number(first));
    case 'delete_topic':
      return cluster.deleteTopic(name);
    case 'config':
      return [encoded(await cluster.config(name, first))];
    case 'alter':
      return cluster.alter(name, first, second);
    case 'offset':
      return numberOrNone(await cluster.offset(name, Number(first), second));
    case 'delete_records':
      return [await cluster.deleteRecords(name, Number(first), second)];
    case 'groups':
      return cluster.groups();
    case 'group':
      return cluster.group(name);
    case 'delete_group':
      return cluster.deleteGroup(name);
    default:
      throw new Error(`no command: ${command.name}`);
  }
}

function numberOrNone(offset) {
  return [Number(offset) < 0 ? '-' : offset];
}

module.exports = { Stall, Unsupported, serve, MAX_RECORDS, SESSION_TIMEOUT_MS, HEARTBEAT_MS };
