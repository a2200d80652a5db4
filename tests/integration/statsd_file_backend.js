// A backend for statsd that appends what it flushes to a file, a JSON object a line.
const fs = require('fs');

exports.init = function (startupTime, config, events) {
  fs.appendFileSync(config.file, '');
  events.on('flush', function (timestamp, metrics) {
    const sets = {};
    for (const name in metrics.sets) {
      sets[name] = metrics.sets[name].values();
    }
    const { counters, gauges, timer_data } = metrics;
    fs.appendFileSync(config.file, JSON.stringify({ counters, gauges, timer_data, sets }) + '\n');
  });
  return true;
};
