// The Kafka module of testcontainers for Node with this image in the place of Confluent's.
//
// node module.js IMAGE:TAG; ends with OK. The module reads a Confluent version out of the tag: 8.0.0 and more is KRaft.
"use strict";

const assert = require("node:assert");
const { KafkaContainer } = require("@testcontainers/kafka");
const { Kafka, logLevel } = require("kafkajs");

async function main(image) {
  const container = await new KafkaContainer(image).start();
  try {
    await produceAndConsume(`${container.getHost()}:${container.getMappedPort(9093)}`);
  } finally {
    await container.stop();
  }
  console.log("OK");
}

async function produceAndConsume(address) {
  const kafka = new Kafka({ clientId: "visitor", brokers: [address], logLevel: logLevel.ERROR });
  const sent = Array.from({ length: 10 }, (_, n) => ({ key: `key-${n}`, value: `value-${n}` }));
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic: "visits", messages: sent });
  await producer.disconnect();

  const consumer = kafka.consumer({ groupId: "visitors" });
  await consumer.connect();
  await consumer.subscribe({ topics: ["visits"], fromBeginning: true });
  const found = [];
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`only ${found.length} records came`)), 40_000).unref();
    const eachMessage = async ({ message }) => {
      found.push({ key: message.key.toString(), value: message.value.toString() });
      if (found.length === sent.length) resolve();
    };
    consumer.run({ eachMessage }).catch(reject);
  });
  await consumer.disconnect();
  assert.deepStrictEqual(found, sent);
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
