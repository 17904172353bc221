// Loaded into the gateway before its own code (node --require): keeps it on loopback, whatever it asks for.
//
// Every host name is 127.0.0.1, and port 443 is the TLS front of the tests, which tells providers apart by the Host
// header. Any other connection must lead to loopback by its own name. Servers listen on loopback only; the port that a
// server got is printed, so that nobody has to guess a free one.
"use strict";

const dns = require("dns");
const net = require("net");

const FRONT = Number(process.env.GATEWAY_FRONT_PORT);
const HOME = "127.0.0.1";
const LOCAL = new Set([HOME, "localhost"]);

function lookup(_name, options, callback) {
  const done = typeof options === "function" ? options : callback;
  const all = typeof options === "object" && options !== null && options.all;
  process.nextTick(() => (all ? done(null, [{ address: HOME, family: 4 }]) : done(null, HOME, 4)));
}

dns.lookup = lookup;
dns.promises.lookup = async (_name, options) => {
  const found = { address: HOME, family: 4 };
  return options && options.all ? [found] : found;
};

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  // net.connect hands over one array of [options, callback]; others may call with the arguments themselves.
  const [options, callback] = Array.isArray(args[0]) ? args[0] : net._normalizeArgs(args);
  const to = Number(options.port) === FRONT ? HOME : options.host || HOME;
  const target = { ...options, lookup, host: HOME, port: Number(options.port) === 443 ? FRONT : options.port };
  if (options.path || (target.port !== FRONT && !LOCAL.has(to))) {
    process.nextTick(() => this.destroy(new Error(`guard: no way to ${options.path || `${to}:${options.port}`}`)));
    return this;
  }
  return connect.call(this, target, callback);
};

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const [options, callback] = net._normalizeArgs(args);
  this.once("listening", () => console.log(`guard: listening on ${HOME}:${this.address().port}`));
  return listen.call(this, { ...options, host: HOME }, callback);
};
