import Docker from 'dockerode'

const CALL_TIMEOUT_MS = 120_000

/** One client for calls, which must answer in time, and one for what stays open (events, waiting for an end). */
export interface Connection {
  readonly calls: Docker
  readonly streams: Docker
}

/** `host` as in DOCKER_HOST: unix:///path, tcp://host:port or http://host:port; the usual socket when absent. */
export function connect(host: string | undefined): Connection {
  const target = parseHost(host)
  return { calls: new Docker({ ...target, timeout: CALL_TIMEOUT_MS }), streams: new Docker(target) }
}

function parseHost(host: string | undefined): Docker.DockerOptions {
  if (host === undefined || host === '') return { socketPath: '/var/run/docker.sock' }
  if (host.startsWith('unix://')) return { socketPath: host.slice('unix://'.length) }
  const url = new URL(host.replace(/^tcp:/, 'http:'))
  return { protocol: url.protocol === 'https:' ? 'https' : 'http', host: url.hostname, port: Number(url.port || '2375') }
}
