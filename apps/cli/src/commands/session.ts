import { ClientError, CloudClient, discover, Http, type Organization, requestTokens, Session, type Space } from '@bloomery/client'
import type { Context } from '../context.js'

export interface LoginOptions {
  readonly api?: string
  readonly user?: string
  readonly password?: string
  readonly org?: string
  readonly space?: string
  readonly clientCredentials?: boolean
  readonly skipSslValidation?: boolean
}

const ATTEMPTS = 3

export async function login(context: Context, options: LoginOptions): Promise<void> {
  const { terminal } = context
  const skipSslValidation = options.skipSslValidation ?? (options.api === undefined && context.config.skipSslValidation)
  const target = options.api ?? context.config.endpoints?.api ?? (await terminal.ask('API endpoint', '-a'))
  terminal.line(`API endpoint: ${terminal.name(target)}\n`)
  const http = new Http({ skipSslValidation })
  try {
    const endpoints = await discover(http, target)
    const user = options.user ?? (await terminal.ask(options.clientCredentials ? 'Client' : 'User', '-u'))
    const tokens = await authenticate(context, options, user, (secret) =>
      requestTokens(
        http,
        endpoints,
        options.clientCredentials ? { kind: 'client', id: user, secret } : { kind: 'password', username: user, password: secret },
      ),
    )
    terminal.ok()
    await context.save({ endpoints, tokens, skipSslValidation, organization: undefined, space: undefined })
    const client = new CloudClient(http, endpoints, new Session(http, endpoints, tokens))
    await chooseTarget(context, client, options.org, options.space)
  } finally {
    await http.close()
  }
  showTarget(context)
}

async function authenticate<T>(
  { terminal }: Context,
  { password, clientCredentials }: LoginOptions,
  user: string,
  request: (secret: string) => Promise<T>,
): Promise<T> {
  const label = clientCredentials ? 'Secret' : 'Password'
  for (let attempt = 1; ; attempt++) {
    const secret = password ?? (await terminal.ask(label, '-p', { secret: true }))
    terminal.line(`Authenticating ${user}...`)
    try {
      return await request(secret)
    } catch (error) {
      if (!(error instanceof ClientError && error.kind === 'credentials-rejected')) throw error
      if (password !== undefined || attempt === ATTEMPTS)
        throw new ClientError('credentials-rejected', `Credentials were rejected, please try again. (${error.message})`, {
          cause: error,
        })
      terminal.warn('Credentials were rejected, please try again.')
    }
  }
}

export async function logout(context: Context): Promise<void> {
  await context.save({ tokens: undefined, organization: undefined, space: undefined })
  context.terminal.ok()
}

export async function target(context: Context, options: { readonly org?: string; readonly space?: string }): Promise<void> {
  if (options.org !== undefined || options.space !== undefined)
    await chooseTarget(context, context.client, options.org, options.space, true)
  showTarget(context)
}

/** As cf: what is named must exist; of what is not named, a single one is taken. */
async function chooseTarget(
  context: Context,
  client: CloudClient,
  orgName: string | undefined,
  spaceName: string | undefined,
  keepOrganization = false,
): Promise<void> {
  let organization = keepOrganization && orgName === undefined ? context.organization : undefined
  if (!organization) {
    const found = await client.list<Organization>(
      '/v3/organizations',
      orgName === undefined ? { order_by: 'name' } : { names: [orgName] },
    )
    if (orgName !== undefined && found.length === 0) throw new ClientError('not-found', `Organization '${orgName}' not found.`)
    const [only] = found.length === 1 ? found : []
    if (!only) return
    organization = { guid: only.guid, name: only.name }
    await context.save({ organization, space: undefined })
  }
  const spaces = await client.list<Space>('/v3/spaces', {
    organization_guids: organization.guid,
    ...(spaceName === undefined ? { order_by: 'name' } : { names: [spaceName] }),
  })
  if (spaceName !== undefined && spaces.length === 0)
    throw new ClientError('not-found', `Space '${spaceName}' not found in org ${organization.name}.`)
  const [only] = spaces.length === 1 ? spaces : []
  if (only) await context.save({ space: { guid: only.guid, name: only.name } })
}

function showTarget(context: Context): void {
  const { terminal, endpoints, config } = context
  terminal.line()
  terminal.pairs([
    ['API endpoint', endpoints.api],
    ['API version', endpoints.apiVersion],
    ['user', context.client.session.userName],
    ['org', config.organization?.name ?? '(none; bloom target -o ORG)'],
    ['space', config.space?.name ?? '(none; bloom target -s SPACE)'],
  ])
}
