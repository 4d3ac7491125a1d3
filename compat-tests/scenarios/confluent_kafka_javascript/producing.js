// A producer of @confluentinc/kafka-javascript, with a count of what is on its way.
'use strict';

const { CODES, Producer } = require('@confluentinc/kafka-javascript');
const { Unsupported } = require('./serve.js');
const { call } = require('./calls.js');

const TIMEOUT_MS = 30000;
const POLL_MS = 20;

class CjsProducer {
  static async open(settings, { id, transactionTimeoutMs, idempotent, acks, codec, patienceMs }) {
    const own = { ...settings, dr_cb: true, 'linger.ms': 2, 'compression.codec': codec };
    if (idempotent) own['enable.idempotence'] = true;
    if (acks !== undefined) own.acks = acks === 'all' ? -1 : Number(acks);
    if (id === undefined) own['message.timeout.ms'] = patienceMs;
    else Object.assign(own, { 'transactional.id': id, 'transaction.timeout.ms': transactionTimeoutMs });
    const producer = new Producer(own);
    const made = Object.assign(new CjsProducer(), { producer, onTheirWay: 0, failed: null, landed: () => {} });
    producer.on('event.error', () => {}); // the library goes on by itself
    producer.on('delivery-report', (error) => {
      made.failed ??= error;
      made.onTheirWay -= 1;
      made.landed();
    });
    await call(producer, 'connect', { timeout: TIMEOUT_MS });
    producer.setPollInterval(POLL_MS);
    if (id !== undefined) await call(producer, 'initTransactions', TIMEOUT_MS);
    return made;
  }

  async send(topic, partition, records) {
    for (const { key, value, timestamp, headers } of records) {
      if (headers.some(([, text]) => text === null)) throw new Unsupported('the library cannot write a header without a value');
      const pairs = headers.length ? headers.map(([name, text]) => ({ [name]: text })) : undefined;
      await this.sendOne(topic, partition, value, key, timestamp && Number(timestamp), undefined, pairs);
    }
  }

  async sendOne(...words) {
    for (;;) {
      try {
        this.producer.produce(...words);
        this.onTheirWay += 1;
        return;
      } catch (error) {
        if (error.code !== CODES.ERRORS.ERR__QUEUE_FULL) throw error;
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    }
  }

  async flush() {
    await call(this.producer, 'flush', 2 * TIMEOUT_MS);
    while (this.onTheirWay) await new Promise((resolve) => Object.assign(this, { landed: resolve }));
    const error = this.failed;
    this.failed = null;
    if (error) throw error;
  }

  begin() {
    return call(this.producer, 'beginTransaction');
  }

  commit() {
    return call(this.producer, 'commitTransaction', TIMEOUT_MS);
  }

  abort() {
    return call(this.producer, 'abortTransaction', TIMEOUT_MS);
  }

  close() {
    return call(this.producer, 'disconnect', TIMEOUT_MS);
  }
}

module.exports = { CjsProducer, TIMEOUT_MS };
