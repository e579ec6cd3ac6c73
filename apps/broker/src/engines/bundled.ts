import type { ServerUser } from '@bloomery/embedded'
import type { ServerHost, Software } from '../servers/server-host.js'
import type { Engine } from './engine.js'
import { PostgresqlEngine } from './postgresql/postgresql.js'
import { postgresSoftware } from './postgresql/software.js'

/** All kinds of servers that the broker knows how to run. */
export const bundledSoftware = (options: { readonly owner: ServerUser | undefined }): readonly Software[] => [
  postgresSoftware({ ...options, image: undefined }),
]

/** All offerings, in the order of the marketplace. */
export const bundledEngines = (servers: ServerHost): readonly Engine[] => [new PostgresqlEngine(servers)]
