import type { Context } from '../context.js'

interface RouteExplanation {
  readonly outcome: string
  readonly status: number | null
  readonly sentence: string
  readonly next_step: string | null
  readonly route: {
    readonly url: string
    readonly protocol: string
    readonly options: Readonly<Record<string, string>>
    readonly route_service_url: string | null
  } | null
  readonly considered: readonly { readonly url: string; readonly reason: string }[]
  readonly destinations: readonly {
    readonly app: { readonly name: string; readonly state: string }
    readonly process_type: string
    readonly weight: number | null
    readonly protocol: string | null
    readonly instances: readonly {
      readonly index: number
      readonly state: string
      readonly routable: boolean
      readonly cell: string | null
      readonly detail: string | null
    }[]
  }[]
  readonly certificate: {
    readonly state: string
    readonly detail: string | null
    readonly next_attempt_at: string | null
    readonly not_after: string | null
  } | null
  readonly routers: readonly { readonly id: string; readonly applied_revision: string; readonly silent: boolean }[]
}

/** Where a request for an address would go, and why. */
export async function explainRoute(context: Context, address: string, flags: { readonly json?: boolean }): Promise<void> {
  const { client, terminal } = context
  const found = await client.get<RouteExplanation>(`/bloomery/v1/routes/explanation?address=${encodeURIComponent(address)}`)
  if (flags.json) return terminal.line(JSON.stringify(found, null, 2))
  const { route } = found
  terminal.line(
    found.status === null ? found.sentence : `${terminal.style(['red', 'bold'], String(found.status))}: ${found.sentence}`,
  )
  if (found.next_step !== null) terminal.line(`What to do: ${found.next_step}`)
  if (route) {
    const options = Object.entries(route.options).map(([name, value]) => `${name}=${value}`)
    terminal.line('')
    terminal.pairs([
      ['route', route.url],
      ['protocol', route.protocol],
      ['options', options.length === 0 ? '(none)' : options.join(', ')],
      ...(route.route_service_url === null ? [] : ([['route service', route.route_service_url]] as const)),
    ])
  }
  if (found.certificate) {
    const { detail, next_attempt_at: next, not_after: notAfter } = found.certificate
    terminal.line('')
    terminal.line(
      notAfter === null ? 'No certificate of a public authority yet.' : `Certificate of a public authority until ${notAfter}.`,
    )
    if (detail !== null) terminal.line(`The last order failed: ${detail}${next === null ? '' : ` Next try: ${next}`}`)
  }
  const instances = found.destinations.flatMap(({ app, process_type: type, weight, protocol, instances: all }) =>
    all.map((each) => [
      app.name,
      type,
      String(each.index),
      each.state,
      each.routable ? 'yes' : 'no',
      each.cell ?? '',
      protocol ?? '',
      weight === null ? '' : `${weight} %`,
      each.detail ?? '',
    ]),
  )
  if (instances.length > 0) {
    terminal.line('')
    terminal.table(['app', 'process', 'index', 'state', 'takes requests', 'cell', 'protocol', 'weight', 'detail'], instances)
  }
  if (found.considered.length > 0) {
    terminal.line('')
    terminal.table(
      ['not taken', 'because'],
      found.considered.map(({ url, reason }) => [url, reason]),
    )
  }
  const silent = found.routers.filter((router) => router.silent)
  if (silent.length > 0)
    terminal.line(`\nNot heard lately, so they may route by an older table: ${silent.map(({ id }) => id).join(', ')}`)
}
