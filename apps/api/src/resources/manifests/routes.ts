import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { diffManifest } from '@bloomery/domain'
import { stringify } from 'yaml'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { accept } from '../../jobs/routes.js'
import { readAppVariables } from '../../runs/environment-sources.js'
import { findApp } from '../apps/find-app.js'
import { findSpace } from '../spaces/find-space.js'
import { MANIFEST_PARTS, presentAppManifest } from './app-manifest.js'
import { applyManifest, ApplyManifestParams } from './apply-manifest.js'
import { readApps, readDocument } from './read-manifest.js'

interface ByGuid {
  Params: { guid: string }
}
type Entries = Record<string, unknown>

export function manifestRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  context.jobs.register('space.apply_manifest', ApplyManifestParams, (job) => applyManifest(context, job))

  const applied = (request: FastifyRequest, reply: FastifyReply, spaceGuid: string, document: unknown) =>
    accept(context, request, reply, {
      operation: 'space.apply_manifest',
      params: { spaceGuid, yaml: stringify(document) },
      resourceType: 'spaces',
      resourceGuid: spaceGuid,
    })

  app.post<ByGuid>(
    '/v3/spaces/:guid/actions/apply_manifest',
    { config: { permission: 'space.develop' } },
    async (request, reply) => {
      const space = await findSpace(db, request, request.params.guid, 'space.develop')
      const document = readDocument(request)
      readApps(document)
      return applied(request, reply, space.guid, document)
    },
  )

  // The older address: the manifest of this very app, whatever name stands in it.
  app.post<ByGuid>(
    '/v3/apps/:guid/actions/apply_manifest',
    { config: { permission: 'space.develop' } },
    async (request, reply) => {
      const found = await findApp(db, request, request.params.guid, 'space.develop')
      const entries = applicationsOf(readDocument(request))
      const own = entries.find(({ name }) => name === found.name) ?? entries[0]
      if (!own) throw unprocessable("Cannot parse manifest with no 'applications' field.")
      const document = { applications: [{ ...own, name: found.name }] }
      readApps(document)
      return applied(request, reply, found.spaceGuid, document)
    },
  )

  app.post<ByGuid>('/v3/spaces/:guid/manifest_diff', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const space = await findSpace(db, request, request.params.guid, 'space.develop')
    const document = readDocument(request)
    const names = readApps(document).map(({ name }) => name)
    const apps = await db.app.findMany({ where: { spaceGuid: space.guid, name: { in: names } }, include: MANIFEST_PARTS })
    const sent = applicationsOf(document)
    const existing = sent.map(({ name }) => {
      const found = apps.find((each) => each.name === name)
      return found && withWebOnTop(presentAppManifest(found, readAppVariables(context, found)))
    })
    return reply.code(201).send({ diff: diffManifest(sent, existing) })
  })

  app.get<ByGuid>('/v3/apps/:guid/manifest', { config: { permission: 'space.read_secrets' } }, async (request, reply) => {
    const found = await findApp(db, request, request.params.guid, 'space.read_secrets')
    const whole = await db.app.findUniqueOrThrow({ where: { guid: found.guid }, include: MANIFEST_PARTS })
    const manifest = { applications: [presentAppManifest(whole, readAppVariables(context, whole))] }
    return reply.type('application/x-yaml').send(`---\n${stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false })}`)
  })
}

/** What stands at the level of the application in a manifest is the web process's. */
function withWebOnTop(manifest: Entries): Entries {
  const web = (manifest['processes'] as Entries[]).find(({ type }) => type === 'web')
  return { ...web, ...manifest }
}

function applicationsOf(document: unknown): Entries[] {
  const entries = typeof document === 'object' && document !== null && 'applications' in document ? document.applications : []
  return Array.isArray(entries) ? entries.filter((each): each is Entries => typeof each === 'object' && each !== null) : []
}
