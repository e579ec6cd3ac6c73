import { ApiForwarding } from '../forwarding/api-forwarding.js'
import type { Target } from '../proxy/forwarding.js'
import type { Step } from '../proxy/disposition.js'

export interface PlatformHostsDeps {
  readonly hosts: ReadonlySet<string>
  readonly upstreams: readonly Target[]
  /** How long requests wait for an API that is away. @default 8 s */
  readonly patienceMs?: number
}

/** Hosts of the platform itself go to the API's own listeners. */
export const platformHosts = (deps: PlatformHostsDeps): Step => {
  let turn = 0
  return (exchange) => {
    if (!deps.hosts.has(exchange.host)) return undefined
    setForwarding(exchange)
    return { do: 'forward', forwarding: new ApiForwarding(exchange, deps.upstreams, turn++, deps.patienceMs) }
  }
}

/** The API builds links from these; they say how the client reached this router. */
function setForwarding({ headers, hostHeader, client }: Parameters<Step>[0]): void {
  const proto = headers.get('x-forwarded-proto') === 'https' ? 'https' : 'http'
  headers.set('X-Forwarded-Host', hostHeader)
  headers.set('X-Forwarded-Port', /:(\d+)$/.exec(hostHeader)?.[1] ?? (proto === 'https' || client.secure ? '443' : '80'))
}
