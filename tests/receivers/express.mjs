// A receiver as most people write it: Express parses the body, and the handler checks the signature of what JSON.stringify makes of it; a
// second one keeps the bytes. Both are checked with the libraries of Standard Webhooks and of Svix.

import express from "express";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";

const [secret] = process.argv.slice(2);
const verifiers = [new StandardWebhook(secret), new SvixWebhook(secret)];
const answer = (request, response, text) => {
  try {
    for (const verifier of verifiers) verifier.verify(text, request.headers);
    response.status(200).send("verified");
  } catch (refused) {
    response.status(400).send(String(refused));
  }
};

const app = express();
app.post("/parsed", express.json(), (request, response) => answer(request, response, JSON.stringify(request.body)));
app.post("/bytes", express.raw({ type: "*/*" }), (request, response) => answer(request, response, request.body));
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
