import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { findPrograms, inImage } from '../../servers/programs.js'
import type { ProgramPaths, ServerCommand, ServerPlace, Software } from '../../servers/server-host.js'
import { ADMIN, Management } from './management.js'

/** The scripts of the package itself; those in /usr/sbin insist on a user of their own. */
const FOLDERS = ['/usr/lib/rabbitmq/bin', '/opt/rabbitmq/sbin']

/** RabbitMQ with its management API, by which everything is done. */
export function rabbitmqSoftware(options: { readonly image: string | undefined }): Software {
  let located: { readonly programs: ProgramPaths | undefined } | undefined
  return {
    kind: 'rabbitmq',
    // The last two are Erlang's own, on the loopback alone.
    ports: ['amqp', 'management', 'distribution', 'epmd'],
    publicPorts: ['amqp', 'management'],
    image: options.image === undefined ? undefined : { name: options.image, programs: inImage(['rabbitmq-server']) },
    locate: () => (located ??= { programs: findPrograms(['rabbitmq-server'], [], FOLDERS) }).programs,
    remedy: 'apt-get install rabbitmq-server (its own server may stay off), or a Docker engine that can pull an image of it',
    prepare: (place) => Promise.resolve(prepare(place)),
    isReady: async (server) => {
      await new Management(server).get('/overview')
      return dials(server.host, server.ports['amqp'] ?? 0)
    },
    stopSignals: [['SIGTERM', 30_000]],
    startTimeoutMs: 120_000,
  }
}

function prepare(place: ServerPlace): ServerCommand {
  const { listen, ports, memoryMb, secret } = place
  const settings = [
    `listeners.tcp.1 = ${listen}:${ports['amqp']}`,
    `management.tcp.ip = ${listen}`,
    `management.tcp.port = ${ports['management']}`,
    `default_user = ${ADMIN}`,
    `default_pass = ${secret}`,
    'default_user_tags.administrator = true',
    `vm_memory_high_watermark.absolute = ${Math.floor(memoryMb * 0.5)}MB`,
    'disk_free_limit.absolute = 128MB',
    'log.console = true',
    'log.console.level = warning',
    'log.file = false',
    'collect_statistics_interval = 5000',
    '',
  ]
  const name = createHash('sha256').update(place.folder).digest('hex').slice(0, 12)
  return {
    command: place.program('rabbitmq-server'),
    // Erlang keeps what it does not know for programs; by this one the process is known again.
    args: ['-bloomery_server', place.folder],
    env: {
      LC_ALL: 'C.UTF-8',
      // Without a shell in between, which would not hand on signals.
      RUNNING_UNDER_SYSTEMD: 'true',
      RABBITMQ_NODENAME: `bloomery-${name}@localhost`,
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_CONFIG_FILE: place.write('rabbitmq.conf', settings.join('\n')).replace(/\.conf$/, ''),
      RABBITMQ_ENABLED_PLUGINS_FILE: place.write('enabled_plugins', '[rabbitmq_management].\n'),
      RABBITMQ_MNESIA_BASE: place.makeFolder('data'),
      RABBITMQ_LOG_BASE: place.makeFolder('log'),
      RABBITMQ_LOGS: '-',
      RABBITMQ_DIST_PORT: String(ports['distribution']),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}',
      ERL_EPMD_PORT: String(ports['epmd']),
      ERL_EPMD_ADDRESS: '127.0.0.1',
    },
  }
}

const dials = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2_000 })
    const finish = (ok: boolean): void => {
      socket.destroy()
      resolve(ok)
    }
    socket.once('connect', () => finish(true))
    socket.once('error', () => finish(false))
    socket.once('timeout', () => finish(false))
  })
