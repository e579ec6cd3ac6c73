import type { Server } from '../../servers/server-host.js'
import type { BindingUser, Grant } from '../engine.js'

/** Where a database is, and who logs in there. */
export function grantOf({ host, ports }: Server, database: string, { username, password }: BindingUser, options: string): Grant {
  const port = ports['mongodb'] ?? 0
  const uri = `mongodb://${username}:${password}@${host}:${port}/${database}?authSource=${database}&${options}`
  return {
    credentials: {
      uri,
      url: uri,
      hostname: host,
      host,
      hosts: [`${host}:${port}`],
      port,
      username,
      user: username,
      password,
      name: database,
      database,
      authSource: database,
      tls: false,
    },
    endpoints: [{ host, ports: [String(port)] }],
  }
}
