// An OpenID provider for tests: https://github.com/panva/node-oidc-provider with its own pages, on which anybody logs in
// by a name and any password. The one argument is JSON: `port`, the `kid` of its signing key, and its `clients`.
//
// It prints "ready", and then the path of each request.

import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const { port, kid, clients } = JSON.parse(process.argv[2]);

const accounts = {
  ann: { email: 'ann@a.example', name: 'Ann Ü', groups: ['dev', 'ops'] },
  bob: { email: 'bob@a.example', name: 'Bob', groups: ['dev'] },
};

const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

const provider = new Provider(`http://localhost:${port}`, {
  clients,
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

provider.listen(port, '127.0.0.1', () => console.log('ready'));
