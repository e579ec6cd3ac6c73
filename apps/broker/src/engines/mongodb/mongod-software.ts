import { findPrograms, inImage } from '../../servers/programs.js'
import type { ServerCommand, ServerPlace, Software } from '../../servers/server-host.js'
import { asAdministrator, codeOf } from './administrator.js'
import { mongodConnectionsFor } from './plans.js'

export const MONGOD_KIND = 'mongodb'
/** What dumps and restores read the administrator's password from: command lines are seen by all. */
export const TOOLS_FILE = 'tools.yml'

const PROGRAMS = ['mongod', 'mongodump', 'mongorestore']
const REPLICA_SET = 'bloomery'
const NOT_YET_INITIALIZED = 94
const ALREADY_INITIALIZED = 23
/** The administrator's, above those of the plan. */
const SPARE_CONNECTIONS = 10
const LEAST_CACHE_GB = 0.25

/** MongoDB itself: a replica set of one member. */
export function mongodSoftware(options: { readonly image: string | undefined }): Software {
  return {
    kind: MONGOD_KIND,
    ports: ['mongodb'],
    publicPorts: ['mongodb'],
    image: options.image === undefined ? undefined : { name: options.image, programs: inImage(PROGRAMS) },
    locate: () => findPrograms(PROGRAMS),
    remedy: "a Docker engine that can pull MongoDB's image, or mongod with the database tools from its makers",
    prepare: (place) => Promise.resolve(prepare(place)),
    isReady: (server) =>
      asAdministrator(server, async (client) => {
        const admin = client.db('admin')
        await admin.command({ replSetGetStatus: 1 }).catch(async (error: unknown) => {
          if (codeOf(error) !== NOT_YET_INITIALIZED) throw error
          // By this name it finds itself, wherever else it listens.
          const members = [{ _id: 0, host: `localhost:${server.ports['mongodb'] ?? 0}` }]
          await admin.command({ replSetInitiate: { _id: REPLICA_SET, members } }).catch((again: unknown) => {
            if (codeOf(again) !== ALREADY_INITIALIZED) throw again
          })
        })
        const { isWritablePrimary } = (await admin.command({ hello: 1 })) as { isWritablePrimary?: boolean }
        return isWritablePrimary === true
      }),
    stopSignals: [['SIGTERM', 30_000]],
  }
}

function prepare(place: ServerPlace): ServerCommand {
  const { listen, memoryMb, secret } = place
  place.write(TOOLS_FILE, JSON.stringify({ password: secret }))
  const config = {
    net: {
      // Its one member is itself, on this machine.
      bindIp: [...new Set([listen, '127.0.0.1'])].join(','),
      port: place.ports['mongodb'],
      maxIncomingConnections: mongodConnectionsFor(memoryMb) + SPARE_CONNECTIONS,
      unixDomainSocket: { enabled: false },
    },
    storage: {
      dbPath: place.makeFolder('data'),
      wiredTiger: { engineConfig: { cacheSizeGB: Math.max(LEAST_CACHE_GB, Math.floor((memoryMb / 1024) * 40) / 100) } },
    },
    // Who has the key is its administrator: none has to be made while nobody needs to log in yet.
    security: { authorization: 'enabled', keyFile: place.write('key', `${secret}\n`) },
    replication: { replSetName: REPLICA_SET, oplogSizeMB: 128 },
    systemLog: { quiet: true },
    setParameter: {
      enableLocalhostAuthBypass: false,
      diagnosticDataCollectionEnabled: false,
      // There is no other member that clients could go over to.
      shutdownTimeoutMillisForSignaledShutdown: 100,
    },
  }
  return {
    command: place.program('mongod'),
    // JSON is YAML.
    args: ['--config', place.write('mongod.yml', JSON.stringify(config, undefined, 2))],
    env: { LC_ALL: 'C.UTF-8', TZ: 'UTC' },
  }
}
