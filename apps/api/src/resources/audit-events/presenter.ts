import type { AuditEvent } from '@bloomery/database'

export const presentAuditEvent = (event: AuditEvent, baseUrl: string) => ({
  guid: event.guid,
  created_at: event.createdAt.toISOString(),
  updated_at: event.createdAt.toISOString(),
  type: event.type,
  actor: { guid: event.actorGuid, type: event.actorType, name: event.actorName },
  target: { guid: event.targetGuid, type: event.targetType, name: event.targetName },
  data: event.data,
  space: event.spaceGuid === null ? null : { guid: event.spaceGuid },
  organization: event.organizationGuid === null ? null : { guid: event.organizationGuid },
  links: { self: { href: `${baseUrl}/v3/audit_events/${event.guid}` } },
})
