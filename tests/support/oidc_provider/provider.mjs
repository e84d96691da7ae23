// An OpenID provider for tests: https://github.com/panva/node-oidc-provider with its own pages, on which anybody logs in
// by a name and any password. The one argument is JSON: `port`, the `kid` of its signing key, its `clients`, the
// `methods` by which they authenticate, and the files of `tls` where it speaks that.
//
// It prints "ready", and then the path of each request.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { Provider } from 'oidc-provider';

const { port, kid, clients, methods, tls } = JSON.parse(process.argv[2]);

const accounts = {
  ann: { email: 'ann@a.example', name: 'Ann Ü', groups: ['dev', 'ops'] },
  bob: { email: 'bob@a.example', name: 'Bob', groups: ['dev'] },
};

const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

const provider = new Provider(`${tls ? 'https' : 'http'}://localhost:${port}`, {
  clients,
  clientAuthMethods: methods,
  jwks: { keys: [{ ...key, kid, use: 'sig', alg: 'RS256' }] },
  cookies: { keys: ['only for tests'] },
  claims: { openid: ['sub'], email: ['email'], profile: ['name'], groups: ['groups'] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts[id] }) }),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        scope: 'read',
        audience: resource,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 60,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

provider.use(async (ctx, next) => {
  console.log(ctx.path);
  await next();
});

const server = tls
  ? https.createServer({ cert: readFileSync(tls.cert), key: readFileSync(tls.key) }, provider.callback())
  : http.createServer(provider.callback());
server.listen(port, '127.0.0.1', () => console.log('ready'));
