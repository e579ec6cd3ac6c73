import {
  ClientError,
  CloudClient,
  discover,
  Http,
  type Organization,
  requestTokens,
  Session,
  type Space,
  type Tokens,
} from '@bloomery/client'
import type { Context } from '../context.js'

export interface LoginFlags {
  readonly api?: string
  readonly user?: string
  readonly password?: string
  readonly org?: string
  readonly space?: string
  readonly clientCredentials?: boolean
  readonly skipSslValidation?: boolean
}

const ATTEMPTS = 3
/** More than these are not worth a menu. */
const MENU = 50

export async function login(context: Context, flags: LoginFlags): Promise<void> {
  const { terminal, config } = context
  const target = flags.api ?? config.endpoints?.api ?? (await terminal.ask('API endpoint', '-a'))
  // What was trusted is the endpoint of before, no other.
  const skipSslValidation = flags.skipSslValidation ?? (flags.api === undefined && config.skipSslValidation)
  terminal.line(`API endpoint: ${terminal.name(target)}\n`)
  const http = new Http({ skipSslValidation })
  try {
    const endpoints = await discover(http, target)
    const tokens = await authenticate(context, flags, (user, secret) =>
      requestTokens(
        http,
        endpoints,
        flags.clientCredentials ? { kind: 'client', id: user, secret } : { kind: 'password', username: user, password: secret },
      ),
    )
    terminal.ok()
    terminal.line()
    await context.save({ endpoints, tokens, skipSslValidation, organization: undefined, space: undefined })
    await chooseTarget(context, new CloudClient(http, endpoints, new Session(http, endpoints, tokens)), flags)
  } finally {
    await http.close()
  }
  showTarget(context)
}

async function authenticate(
  context: Context,
  flags: LoginFlags,
  request: (user: string, secret: string) => Promise<Tokens>,
): Promise<Tokens> {
  const { terminal, surroundings } = context
  const { clientCredentials } = flags
  const user =
    flags.user ?? (surroundings.env['BLOOM_USERNAME'] || (await terminal.ask(clientCredentials ? 'Client' : 'User', '-u')))
  const given = flags.password ?? (surroundings.env['BLOOM_PASSWORD'] || undefined)
  for (let attempt = 1; ; attempt++) {
    const secret = given ?? (await terminal.ask(clientCredentials ? 'Secret' : 'Password', '-p', { secret: true }))
    terminal.line(`Authenticating ${terminal.name(user)}...`)
    try {
      return await request(user, secret)
    } catch (error) {
      if (!(error instanceof ClientError && error.kind === 'credentials-rejected')) throw error
      if (given === undefined && attempt < ATTEMPTS) terminal.warn('Credentials were rejected, please try again.')
      else
        throw new ClientError(
          'credentials-rejected',
          `Credentials were rejected (${error.message}). Check user and password, and that the API is the right one.`,
          { cause: error },
        )
    }
  }
}

export async function logout(context: Context): Promise<void> {
  context.terminal.line('Logging out...')
  await context.save({ tokens: undefined, organization: undefined, space: undefined })
  context.terminal.ok()
}

export interface TargetFlags {
  readonly org?: string
  readonly space?: string
}

export async function target(context: Context, flags: TargetFlags): Promise<void> {
  if (flags.org !== undefined || flags.space !== undefined) {
    const organization = flags.org === undefined ? context.organization : undefined
    await chooseTarget(context, context.client, flags, organization)
  }
  showTarget(context)
}

type Named = Readonly<{ guid: string; name: string }>

/** As cf: what is named must exist; of what is not named, a single one is taken, and of several a person is asked. */
async function chooseTarget(context: Context, client: CloudClient, flags: TargetFlags, present?: Named): Promise<void> {
  const organization =
    present ??
    (await choose(context, 'org', flags.org, (names) =>
      client.list<Organization>('/v3/organizations', names ? { names } : { order_by: 'name' }),
    ))
  if (!organization) return
  if (!present) await context.save({ organization: { guid: organization.guid, name: organization.name }, space: undefined })
  const space = await choose(context, 'space', flags.space, (names) =>
    client.list<Space>('/v3/spaces', { organization_guids: organization.guid, ...(names ? { names } : { order_by: 'name' }) }),
  )
  if (space) await context.save({ space: { guid: space.guid, name: space.name } })
}

async function choose(
  { terminal }: Context,
  what: 'org' | 'space',
  name: string | undefined,
  list: (names?: readonly string[]) => Promise<readonly Named[]>,
): Promise<Named | undefined> {
  if (name !== undefined) {
    const [found] = await list([name])
    if (!found) throw new ClientError('not-found', `The ${what} '${name}' was not found, or you have no role in it.`)
    return found
  }
  const all = await list()
  if (all.length < 2 || !terminal.interactive) return all.length === 1 ? all[0] : undefined
  terminal.line(`Select ${what === 'org' ? 'an org' : 'a space'}:`)
  if (all.length <= MENU) all.forEach((each, i) => terminal.line(`${i + 1}. ${each.name}`))
  else terminal.line(`There are ${all.length}; type a name.`)
  const answer = (await terminal.ask(`\n${what} (number or name; enter to skip)`, what === 'org' ? '-o' : '-s')).trim()
  if (answer === '') return undefined
  const chosen = all.find((each) => each.name === answer) ?? (/^\d+$/.test(answer) ? all[Number(answer) - 1] : undefined)
  if (!chosen) throw new ClientError('not-found', `There is no ${what} '${answer}' to choose.`)
  return chosen
}

function showTarget(context: Context): void {
  const { terminal, endpoints, config } = context
  terminal.pairs([
    ['API endpoint', endpoints.api],
    ['API version', endpoints.apiVersion],
    ['user', context.client.session.userName],
    ['org', config.organization?.name ?? "none; choose one with 'bloom target -o ORG'"],
    ['space', config.space?.name ?? "none; choose one with 'bloom target -s SPACE'"],
  ])
}
