import { ClientError } from '@bloomery/client'
import type { Context } from '../context.js'
import { explainRoute } from './route-explanation.js'

interface Checksummed {
  readonly name: string
  readonly version: string | null
  readonly checksum: string | null
}
interface Explanation {
  readonly guid: string
  readonly state: string
  readonly app: { readonly name: string }
  readonly seconds: number | null
  readonly attempts: number
  readonly waits_for: string | null
  readonly settings: {
    readonly stack: string
    readonly buildpacks: readonly string[]
    readonly memory_in_mb: number
    readonly disk_in_mb: number
  }
  readonly reused: boolean
  readonly droplet: {
    readonly guid: string
    readonly checksum: string | null
    readonly components: number
    readonly inputs: {
      readonly bits: { readonly content: string }
      readonly buildpacks: readonly Checksummed[]
      readonly runtimes: readonly Checksummed[]
      readonly stack: { readonly name: string; readonly image: string; readonly digest: string }
      readonly lock_files: readonly { readonly path: string; readonly checksum: string }[]
    } | null
  } | null
  readonly failure: {
    readonly id: string
    readonly cause: string | null
    readonly sentence: string
    readonly next_step: string
    readonly last_lines: readonly string[]
  } | null
}

const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-/

export async function explainCommand(
  context: Context,
  kind: string,
  name: string,
  flags: { readonly json?: boolean },
): Promise<void> {
  if (kind === 'route') return explainRoute(context, name, flags)
  if (kind !== 'build')
    throw new ClientError(
      'bad-argument',
      `bloom explains builds and routes: bloom explain build ${name}, bloom explain route ${name}`,
    )
  const guid = GUID.test(name) ? name : await newestBuild(context, name)
  const found = await context.client.get<Explanation>(`/bloomery/v1/builds/${guid}/explanation`)
  if (flags.json) return context.terminal.line(JSON.stringify(found, null, 2))
  tell(context, found)
}

export async function cancelBuild(context: Context, name: string): Promise<void> {
  const guid = await newestBuild(context, name)
  context.announce(`Cancelling the build of app ${context.terminal.name(name)}`)
  await context.client.post(`/bloomery/v1/builds/${guid}/actions/cancel`)
  context.terminal.ok()
}

async function newestBuild(context: Context, name: string): Promise<string> {
  const app = await context.app(name)
  const build = await context.client.findOne<{ guid: string }>('/v3/builds', { app_guids: app.guid, order_by: '-created_at' })
  if (!build) throw new ClientError('not-found', `App '${name}' was never staged. Push it: bloom push ${name}`)
  return build.guid
}

function tell({ terminal }: Context, found: Explanation): void {
  const { settings, droplet, failure } = found
  const took = found.seconds === null ? '' : ` after ${found.seconds.toFixed(1)} s`
  terminal.pairs([
    ['build', found.guid],
    ['app', found.app.name],
    ['state', `${found.state}${took}${found.attempts > 1 ? `, try ${found.attempts}` : ''}`],
    ['stack', settings.stack],
    ['buildpacks', settings.buildpacks.length === 0 ? '(detected)' : settings.buildpacks.join(', ')],
    ['limits', `${settings.memory_in_mb} MB of memory, ${settings.disk_in_mb} MB of disk`],
  ])
  if (found.waits_for !== null) terminal.line(`\nWaits: ${found.waits_for}`)
  if (failure) {
    terminal.line(
      `\n${terminal.style(['red', 'bold'], failure.id)}: ${failure.sentence}${failure.cause === null ? '' : ` (${failure.cause})`}`,
    )
    terminal.line(`What to do: ${failure.next_step}`)
    if (failure.last_lines.length > 0)
      terminal.line(`\nFrom its output:\n${failure.last_lines.map((line) => `   ${line}`).join('\n')}`)
  }
  if (droplet) tellDroplet(terminal, droplet, found.reused)
}

function tellDroplet(terminal: Context['terminal'], droplet: NonNullable<Explanation['droplet']>, reused: boolean): void {
  terminal.line(`\nDroplet ${droplet.guid}${reused ? ', which an earlier build of the same inputs had made' : ''}`)
  const { inputs } = droplet
  const named = ({ name, version, checksum }: Checksummed): string => [name, version, checksum].filter(Boolean).join(' ')
  terminal.pairs([
    ['checksum', droplet.checksum ?? ''],
    ['components', String(droplet.components)],
    ...(inputs === null
      ? []
      : ([
          ['files', inputs.bits.content],
          ...inputs.buildpacks.map((each) => ['buildpack', named(each)] as const),
          ...inputs.runtimes.map((each) => ['runtime', named(each)] as const),
          ['stack', `${inputs.stack.name} ${inputs.stack.digest}`],
          ...inputs.lock_files.map(({ path, checksum }) => ['lock file', `${path} ${checksum}`] as const),
        ] as const)),
  ])
}
