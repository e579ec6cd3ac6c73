import { join, resolve } from 'node:path'

/** Where everything lies under BLOOMERY_HOME. One place, so that no role guesses. */
export const homePaths = (home: string) => ({
  home: resolve(home),
  installationId: join(home, 'installation-id'),
  adminPassword: join(home, 'admin-password'),
  keyring: join(home, 'keyring.json'),
  /** Password by which the platform knows itself to the bundled service broker. */
  brokerPassword: join(home, 'broker-password'),
  postgres: join(home, 'postgres'),
  redis: join(home, 'redis'),
  blobs: join(home, 'blobs'),
  logs: join(home, 'logs'),
  stager: join(home, 'stager'),
  cell: join(home, 'cell'),
  router: join(home, 'router'),
  /** Sockets, pid files, ports chosen once. */
  run: join(home, 'run'),
  /** Certificates of each role: nodes/<role>/{node.crt,node.key,ca.crt}. */
  nodes: join(home, 'nodes'),
  roleLogs: join(home, 'log'),
})
export type HomePaths = ReturnType<typeof homePaths>
