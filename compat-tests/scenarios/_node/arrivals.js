// What a consumer was handed and nobody has asked for yet, for libraries that push records.
'use strict';

class Arrivals {
  constructor() {
    this.records = [];
    this.wake = () => {};
  }

  push(record) {
    this.records.push(record);
    this.wake();
  }

  drop(partition) {
    this.records = this.records.filter((record) => record.partition !== partition);
  }

  clear() {
    this.records = [];
  }

  first(partition) {
    return this.records.find((record) => record.partition === partition);
  }

  // Up to `count`, fewer when `ms` have gone by.
  async take(count, ms) {
    const deadline = Date.now() + ms;
    while (this.records.length < count && Date.now() < deadline) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.records.splice(0, count);
  }
}

module.exports = { Arrivals };
