// The library's callbacks as promises.
'use strict';

// Calls a method whose last argument is a callback with an error and a result.
function call(object, method, ...words) {
  return new Promise((resolve, reject) => {
    object[method](...words, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

// Calls until the error is none that trying again may mend.
async function again(object, method, ...words) {
  for (;;) {
    try {
      return await call(object, method, ...words);
    } catch (error) {
      if (!error.isRetriable) throw error;
    }
  }
}

module.exports = { again, call };
