import { randomUUID } from 'node:crypto'
import { ADMIN_SCOPES, USER_SCOPES } from '../oauth/scopes.js'
import { anOrganization, startTestApi, type Caller, type TestApi } from '../testing.fixture.js'
import { PERMISSIONS, type Permission } from './permissions.js'

type Method = 'get' | 'post' | 'patch' | 'put' | 'delete'
const send = (caller: Caller, method: string, url: string) => {
  const name = method.toLowerCase() as Method
  return name === 'get' || name === 'delete' ? caller[name](url) : caller[name](url, { no_such_field: 1 })
}

/** Whether a role has a right where it is held; what it lacks must be answered 403, and everything where it is not held 404. */
const RIGHTS: Record<string, readonly Permission[]> = {
  organization_manager: ['org.read', 'org.manage', 'space.read', 'space.manage'],
  organization_auditor: ['org.read'],
  organization_user: ['org.read'],
  space_developer: ['org.read', 'space.read', 'space.read_secrets', 'space.operate', 'space.develop'],
  space_supporter: ['org.read', 'space.read', 'space.operate'],
  space_manager: ['org.read', 'space.read', 'space.manage'],
  space_auditor: ['org.read', 'space.read'],
}
/** Where the right asked for at an address of this kind is judged, and who may see such a thing at all. */
const SEES_SPACE = ['organization_manager', 'space_developer', 'space_supporter', 'space_manager', 'space_auditor']

describe('every route and every role', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
    // A feature that is off is refused to whoever has the right, too.
    const flags = ['route_sharing', 'service_instance_sharing']
    await api.context.db.featureFlag.createMany({ data: flags.map((name) => ({ name, enabled: true })), skipDuplicates: true })
    await api.context.db.featureFlag.updateMany({ where: { name: { in: flags } }, data: { enabled: true } })
  })
  afterAll(() => api.close())

  it('answers 401 to whoever brings no token, unless the route is public', async () => {
    for (const { method, url, permission } of api.app.declaredRoutes) {
      const response = await api.app.inject({ method: method as 'GET', url: url.replaceAll(/:\w+|\*/g, 'x') })
      const refused = response.statusCode === 401 && /CF-NotAuthenticated|"Authentication error"/.test(response.payload)
      expect(`${method} ${url} ${refused}`).toBe(`${method} ${url} ${PERMISSIONS[permission].token}`)
    }
  })

  it('answers 403 to a token without the scopes that the route asks for', async () => {
    const nobody = await api.caller('without-scopes', [])
    const reader = await api.caller('only-reads', ['cloud_controller.read'])
    const ordinary = await api.caller('ordinary', [...USER_SCOPES])
    const callers: readonly { readonly caller: typeof nobody; readonly scopes: readonly string[] }[] = [
      { caller: nobody, scopes: [] },
      { caller: reader, scopes: ['cloud_controller.read'] },
      { caller: ordinary, scopes: [...USER_SCOPES] },
    ]
    for (const { method, url, permission } of api.app.declaredRoutes) {
      const rule = PERMISSIONS[permission]
      const address = url.replaceAll(/:\w+|\*/g, 'x')
      const closedTo = [
        ...(rule.scope === null ? [] : [nobody]),
        ...(rule.scope === 'write' ? [reader] : []),
        ...(rule.adminOnly ? [ordinary, reader] : []),
        ...('anyOf' in rule ? callers.filter(({ scopes }) => !rule.anyOf.some((each) => scopes.includes(each))) : []).map(
          ({ caller }) => caller,
        ),
      ]
      for (const caller of closedTo)
        expect(`${method} ${url} ${caller.name} ${(await send(caller, method, address)).status}`).toBe(
          `${method} ${url} ${caller.name} 403`,
        )
    }
  })

  it('never refuses an admin', async () => {
    const user = await api.context.db.user.create({ data: { guid: randomUUID(), username: 'root', scopes: [...ADMIN_SCOPES] } })
    const scopes = [...USER_SCOPES, ...ADMIN_SCOPES]
    const { token } = await api.tokens.issueAccessToken(
      { user: { ...user, username: 'root' }, clientId: 'cf', scopes, grantType: 'password' },
      600,
    )
    for (const { method, url, permission } of api.app.declaredRoutes) {
      if (!PERMISSIONS[permission].token) continue
      const { statusCode } = await api.app.inject({
        method: method as 'GET',
        url: url.replaceAll(/:\w+|\*/g, 'x'),
        headers: { authorization: `bearer ${token}` },
        ...(method === 'GET' || method === 'DELETE' ? {} : { payload: { no_such_field: 1 } }),
      })
      expect([`${method} ${url}`, [401, 403].includes(statusCode)]).toEqual([`${method} ${url}`, false])
    }
  })

  it.each(Object.keys(RIGHTS))('gives %s what its role gives, and hides what it does not show', async (role) => {
    const { organization, space, domain, withRole, developer, auditor, stranger } = await anOrganization(api)
    const { db } = api.context
    const route = await db.route.create({
      data: { guid: randomUUID(), host: role.replaceAll('_', '-') + space.guid, domainGuid: domain.guid, spaceGuid: space.guid },
    })
    const app = await db.app.create({ data: { guid: randomUUID(), name: 'walked', spaceGuid: space.guid } })
    const places: Record<string, { guid: string; seen: boolean }> = {
      organizations: { guid: organization.guid, seen: true },
      spaces: { guid: space.guid, seen: SEES_SPACE.includes(role) },
      routes: { guid: route.guid, seen: SEES_SPACE.includes(role) },
      apps: { guid: app.guid, seen: SEES_SPACE.includes(role) },
    }
    const caller = role === 'space_developer' ? developer : role === 'space_auditor' ? auditor : await withRole(role)
    for (const { method, url, permission } of api.app.declaredRoutes) {
      const place = places[/^\/v3\/(\w+)\/:guid/.exec(url)?.[1] ?? '']
      if (!place || !/^(org|space)\./.test(permission)) continue
      const address = url.replace(':guid', place.guid).replaceAll(/:\w+|\*/g, 'x')
      const told = (status: number) => `${method} ${url} ${status}`
      expect(told((await send(stranger, method, address)).status)).toBe(told(404))
      const may = place.seen && RIGHTS[role]?.includes(permission)
      // What is allowed is tried where it changes nothing.
      if (may && method === 'DELETE') continue
      const { status, text } = await send(caller, method, address)
      if (!place.seen) expect(told(status)).toBe(told(404))
      else if (may)
        expect([told(status), status === 403 || /"(?:Organization|Space|Route|App) not found"/.test(text)]).toEqual([
          told(status),
          false,
        ])
      else expect(told(status)).toBe(told(403))
    }
  })
})
