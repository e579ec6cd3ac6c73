import { randomUUID } from 'node:crypto'
import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('roles and users', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())
  const role = (type: string, guid: string, user: object) => ({
    type,
    relationships: { [type.startsWith('space') ? 'space' : 'organization']: { data: { guid } }, user: { data: user } },
  })

  it('gives a role by user name once, and says so the second time', async () => {
    const { organization, space, withRole } = await anOrganization(api)
    const manager = await withRole('organization_manager')
    const user = await api.caller(`joe-${organization.name}`)
    const inSpace = role('space_developer', space.guid, { username: user.name })
    expect((await manager.post('/v3/roles', inSpace)).body.errors[0].detail).toBe(
      "Users cannot be assigned roles in a space if they do not have a role in that space's organization.",
    )
    const inOrganization = role('organization_user', organization.guid, { username: user.name.toUpperCase(), origin: 'uaa' })
    expect((await manager.post('/v3/roles', inOrganization)).status).toBe(201)
    expect((await manager.post('/v3/roles', inOrganization)).body.errors).toEqual([
      {
        code: 10008,
        title: 'CF-UnprocessableEntity',
        detail: `User '${user.name}' already has 'organization_user' role in organization '${organization.name}'.`,
      },
    ])
    const made = await manager.post('/v3/roles', inSpace)
    expect(made).toMatchObject({
      status: 201,
      body: { type: 'space_developer', relationships: { organization: { data: null }, space: { data: { guid: space.guid } } } },
    })
    expect((await user.get(`/v3/spaces/${space.guid}`)).status).toBe(200)
    const own = await manager.get(`/v3/roles?user_guids=${user.guid}&types=organization_user`)
    expect((await manager.delete(`/v3/roles/${own.body.resources[0].guid}`)).body.errors[0].detail).toBe(
      'Cannot delete organization_user role while user has roles in spaces in that organization.',
    )
    await manager.job(await manager.delete(`/v3/roles/${made.body.guid}`))
    expect((await user.get(`/v3/spaces/${space.guid}`)).status).toBe(404)
    const events = await api.context.db.auditEvent.findMany({ where: { targetGuid: user.guid }, orderBy: { createdAt: 'asc' } })
    expect(events.map(({ type }) => type)).toEqual([
      'audit.user.organization_user_add',
      'audit.user.space_developer_add',
      'audit.user.space_developer_remove',
    ])
  })

  it('lists roles with their users', async () => {
    const { space, developer } = await anOrganization(api)
    const { body } = await developer.get(`/v3/roles?space_guids=${space.guid}&include=user`)
    expect(body.resources.map(({ type }: { type: string }) => type)).toEqual(['space_developer', 'space_auditor'])
    expect(body.included.users).toContainEqual(
      expect.objectContaining({
        guid: developer.guid,
        username: developer.name,
        presentation_name: developer.name,
        origin: 'uaa',
      }),
    )
  })

  it('refuses unknown and ambiguous names, wrong combinations, and whoever may not manage', async () => {
    const { organization, space, admin, developer, stranger } = await anOrganization(api)
    const detail = async (body: object) => (await admin.post('/v3/roles', body)).body.errors[0].detail
    expect(await detail(role('organization_manager', organization.guid, { username: 'nobody' }))).toBe(
      "No user exists with the username 'nobody'.",
    )
    expect(await detail(role('organization_manager', organization.guid, { username: 'nobody', origin: 'ldap' }))).toBe(
      "No user exists with the username 'nobody' and origin 'ldap'.",
    )
    await api.context.db.user.create({ data: { guid: randomUUID(), username: stranger.name, origin: 'ldap' } })
    expect(await detail(role('organization_manager', organization.guid, { username: stranger.name }))).toBe(
      `Ambiguous user. User with username '${stranger.name}' exists in the following origins: ldap, uaa. Specify an origin to disambiguate.`,
    )
    expect(await detail({ type: 'king', relationships: {} })).toMatch(/^Type must be one of the allowed types/)
    const wrongPlace = { ...role('space_developer', space.guid, { guid: 'x' }), type: 'organization_manager' }
    expect(await detail(wrongPlace)).toBe("Space cannot be provided with the organization role type: 'organization_manager'.")
    expect((await developer.post('/v3/roles', role('space_developer', space.guid, { guid: stranger.guid }))).status).toBe(403)
    expect((await stranger.post('/v3/roles', role('space_developer', space.guid, { guid: stranger.guid }))).status).toBe(422)
  })

  it('gives roles to service accounts, which are users without a name', async () => {
    const { organization, admin } = await anOrganization(api)
    await admin.post('/v3/roles', role('organization_manager', organization.guid, { guid: 'robot' }))
    expect((await admin.get('/v3/users/robot')).body).toMatchObject({
      username: null,
      presentation_name: 'robot',
      origin: null,
    })
  })

  it('registers users twice without complaint, shows them to those who share an organization, and removes them', async () => {
    const { admin, developer, stranger, auditor } = await anOrganization(api)
    expect((await admin.post('/v3/users', { guid: stranger.guid })).status).toBe(201)
    expect((await admin.post('/v3/users', { guid: stranger.guid })).status).toBe(201)
    expect((await developer.post('/v3/users', { guid: 'x' })).status).toBe(403)
    expect((await developer.get(`/v3/users/${auditor.guid}`)).status).toBe(200)
    expect((await developer.get(`/v3/users/${stranger.guid}`)).body.errors[0].detail).toBe('User not found')
    expect((await admin.get(`/v3/users?usernames=${stranger.name}&origins=uaa`)).body.resources).toHaveLength(1)
    expect((await admin.get('/v3/users?origins=uaa')).status).toBe(400)
    await admin.job(await admin.delete(`/v3/users/${stranger.guid}`))
    // The client stops at exactly "User not found"; anything longer lets it go on.
    expect((await admin.delete(`/v3/users/${stranger.guid}`)).body.errors[0].detail).toMatch(/^User not found.+/)
  })
})
