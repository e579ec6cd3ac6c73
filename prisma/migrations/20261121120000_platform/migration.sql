-- The whole shape of version 1; schema.prisma tells what each table is for.

CREATE TABLE "settings" (
  "name" text NOT NULL,
  "value" jsonb NOT NULL,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "settings_pkey" PRIMARY KEY ("name")
);

CREATE TABLE "leases" (
  "name" text NOT NULL,
  "holder" text NOT NULL,
  "token" bigint NOT NULL DEFAULT 0,
  "expires_at" timestamptz(3) NOT NULL,
  CONSTRAINT "leases_pkey" PRIMARY KEY ("name")
);

CREATE TABLE "authorities" (
  "guid" text NOT NULL,
  "purpose" text NOT NULL,
  "certificate_pem" text NOT NULL,
  "private_key_encrypted" jsonb NOT NULL,
  "not_after" timestamptz(3) NOT NULL,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "authorities_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "authorities_purpose_idx" ON "authorities" ("purpose");

CREATE TABLE "ingress_certificates" (
  "guid" text NOT NULL,
  "names" text[] NOT NULL,
  "certificate_pem" text NOT NULL,
  "private_key_encrypted" jsonb NOT NULL,
  "source" text NOT NULL,
  "not_after" timestamptz(3) NOT NULL,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "ingress_certificates_pkey" PRIMARY KEY ("guid")
);

CREATE TABLE "join_tokens" (
  "guid" text NOT NULL,
  "token_hash" text NOT NULL,
  "role" text NOT NULL,
  "node_id" text,
  "expires_at" timestamptz(3) NOT NULL,
  "used_at" timestamptz(3),
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "join_tokens_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "join_tokens_token_hash_key" ON "join_tokens" ("token_hash");

CREATE TABLE "users" (
  "guid" text NOT NULL,
  "username" text,
  "origin" text NOT NULL DEFAULT 'uaa',
  "password_hash" text,
  "active" boolean NOT NULL DEFAULT true,
  "failed_logins" integer NOT NULL DEFAULT 0,
  "locked_until" timestamptz(3),
  "scopes" text[] NOT NULL DEFAULT '{}',
  "email" text,
  "given_name" text,
  "family_name" text,
  "registered" boolean NOT NULL DEFAULT false,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "users_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "users_username_origin_key" ON "users" ("username", "origin");

CREATE TABLE "oauth_clients" (
  "client_id" text NOT NULL,
  "secret_hash" text,
  "grant_types" text[] NOT NULL,
  "scopes" text[] NOT NULL,
  "access_token_seconds" integer NOT NULL,
  "refresh_token_seconds" integer,
  "redirect_uris" text[] NOT NULL DEFAULT '{}',
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "oauth_clients_pkey" PRIMARY KEY ("client_id")
);

CREATE TABLE "signing_keys" (
  "kid" text NOT NULL,
  "algorithm" text NOT NULL,
  "private_key_encrypted" jsonb NOT NULL,
  "public_jwk" jsonb NOT NULL,
  "retired_at" timestamptz(3),
  "expires_at" timestamptz(3),
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "signing_keys_pkey" PRIMARY KEY ("kid")
);

CREATE TABLE "refresh_tokens" (
  "jti" text NOT NULL,
  "user_guid" text NOT NULL,
  "client_id" text NOT NULL,
  "expires_at" timestamptz(3) NOT NULL,
  "revoked_at" timestamptz(3),
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "refresh_tokens_pkey" PRIMARY KEY ("jti")
);
CREATE INDEX "refresh_tokens_user_guid_idx" ON "refresh_tokens" ("user_guid");

CREATE TABLE "revoked_tokens" (
  "jti" text NOT NULL,
  "expires_at" timestamptz(3) NOT NULL,
  CONSTRAINT "revoked_tokens_pkey" PRIMARY KEY ("jti")
);

CREATE TABLE "roles" (
  "guid" text NOT NULL,
  "type" text NOT NULL,
  "user_guid" text NOT NULL,
  "organization_guid" text,
  "space_guid" text,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "roles_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "roles_user_guid_type_organization_guid_key" ON "roles" ("user_guid", "type", "organization_guid");
CREATE UNIQUE INDEX "roles_user_guid_type_space_guid_key" ON "roles" ("user_guid", "type", "space_guid");
CREATE INDEX "roles_organization_guid_idx" ON "roles" ("organization_guid");
CREATE INDEX "roles_space_guid_idx" ON "roles" ("space_guid");

CREATE TABLE "organization_quotas" (
  "guid" text NOT NULL,
  "name" text NOT NULL,
  "total_memory_mb" integer,
  "per_process_memory_mb" integer,
  "total_instances" integer,
  "per_app_tasks" integer,
  "log_rate_limit_bytes" bigint,
  "paid_services_allowed" boolean NOT NULL DEFAULT true,
  "total_service_instances" integer,
  "total_service_keys" integer,
  "total_routes" integer,
  "total_reserved_ports" integer,
  "total_domains" integer,
  "is_default" boolean NOT NULL DEFAULT false,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "organization_quotas_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "organization_quotas_name_key" ON "organization_quotas" ("name");

CREATE TABLE "space_quotas" (
  "guid" text NOT NULL,
  "name" text NOT NULL,
  "organization_guid" text NOT NULL,
  "total_memory_mb" integer,
  "per_process_memory_mb" integer,
  "total_instances" integer,
  "per_app_tasks" integer,
  "log_rate_limit_bytes" bigint,
  "paid_services_allowed" boolean NOT NULL DEFAULT true,
  "total_service_instances" integer,
  "total_service_keys" integer,
  "total_routes" integer,
  "total_reserved_ports" integer,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "space_quotas_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "space_quotas_organization_guid_name_key" ON "space_quotas" ("organization_guid", "name");

CREATE TABLE "organizations" (
  "guid" text NOT NULL,
  "name" text NOT NULL,
  "suspended" boolean NOT NULL DEFAULT false,
  "quota_guid" text NOT NULL,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "organizations_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "organizations_name_key" ON "organizations" ("name");

CREATE TABLE "spaces" (
  "guid" text NOT NULL,
  "name" text NOT NULL,
  "organization_guid" text NOT NULL,
  "quota_guid" text,
  "ssh_enabled" boolean NOT NULL DEFAULT true,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "spaces_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "spaces_organization_guid_name_key" ON "spaces" ("organization_guid", "name");

CREATE TABLE "domains" (
  "guid" text NOT NULL,
  "name" text NOT NULL,
  "internal" boolean NOT NULL DEFAULT false,
  "organization_guid" text,
  "router_group_guid" text,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "sequence" bigserial NOT NULL,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "domains_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "domains_name_key" ON "domains" ("name");

CREATE TABLE "domain_sharings" (
  "domain_guid" text NOT NULL,
  "organization_guid" text NOT NULL,
  CONSTRAINT "domain_sharings_pkey" PRIMARY KEY ("domain_guid", "organization_guid")
);

CREATE TABLE "routes" (
  "guid" text NOT NULL,
  "protocol" text NOT NULL DEFAULT 'http',
  "host" text NOT NULL DEFAULT '',
  "path" text NOT NULL DEFAULT '',
  "port" integer NOT NULL DEFAULT 0,
  "options" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "domain_guid" text NOT NULL,
  "space_guid" text NOT NULL,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "routes_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "routes_domain_guid_host_path_port_key" ON "routes" ("domain_guid", "host", "path", "port");
CREATE INDEX "routes_space_guid_idx" ON "routes" ("space_guid");

CREATE TABLE "route_destinations" (
  "guid" text NOT NULL,
  "route_guid" text NOT NULL,
  "app_guid" text NOT NULL,
  "process_type" text NOT NULL DEFAULT 'web',
  "port" integer,
  "weight" integer,
  "protocol" text,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "route_destinations_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "route_destinations_route_guid_idx" ON "route_destinations" ("route_guid");
CREATE INDEX "route_destinations_app_guid_idx" ON "route_destinations" ("app_guid");

CREATE TABLE "apps" (
  "guid" text NOT NULL,
  "name" text NOT NULL,
  "space_guid" text NOT NULL,
  "state" text NOT NULL DEFAULT 'STOPPED',
  "lifecycle_type" text NOT NULL DEFAULT 'buildpack',
  "buildpacks" text[] NOT NULL DEFAULT '{}',
  "stack" text NOT NULL DEFAULT 'cflinuxfs4',
  "environment_variables_encrypted" jsonb,
  "current_droplet_guid" text,
  "ssh_enabled" boolean NOT NULL DEFAULT true,
  "revisions_enabled" boolean NOT NULL DEFAULT true,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "apps_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "apps_space_guid_name_key" ON "apps" ("space_guid", "name");

CREATE TABLE "packages" (
  "guid" text NOT NULL,
  "app_guid" text NOT NULL,
  "type" text NOT NULL DEFAULT 'bits',
  "state" text NOT NULL,
  "error" text,
  "sha256" text,
  "size_bytes" bigint,
  "blob_key" text,
  "docker_image" text,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "packages_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "packages_app_guid_idx" ON "packages" ("app_guid");

CREATE TABLE "builds" (
  "guid" text NOT NULL,
  "app_guid" text NOT NULL,
  "package_guid" text,
  "droplet_guid" text,
  "state" text NOT NULL DEFAULT 'STAGING',
  "error" text,
  "failure" jsonb,
  "lifecycle_type" text NOT NULL DEFAULT 'buildpack',
  "buildpacks" text[] NOT NULL DEFAULT '{}',
  "stack" text NOT NULL,
  "staging_memory_mb" integer NOT NULL,
  "staging_disk_mb" integer NOT NULL,
  "log_rate_limit" bigint NOT NULL DEFAULT -1,
  "environment_encrypted" jsonb,
  "created_by_guid" text,
  "created_by_name" text,
  "claimed_by" text,
  "claim_token" bigint NOT NULL DEFAULT 0,
  "claim_expires_at" timestamptz(3),
  "attempts" integer NOT NULL DEFAULT 0,
  "cancel_requested" boolean NOT NULL DEFAULT false,
  "started_at" timestamptz(3),
  "finished_at" timestamptz(3),
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "builds_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "builds_app_guid_idx" ON "builds" ("app_guid");
CREATE INDEX "builds_state_idx" ON "builds" ("state");

CREATE TABLE "droplets" (
  "guid" text NOT NULL,
  "app_guid" text NOT NULL,
  "package_guid" text,
  "build_guid" text,
  "state" text NOT NULL,
  "error" text,
  "lifecycle_type" text NOT NULL DEFAULT 'buildpack',
  "stack" text,
  "image" text,
  "sha256" text,
  "size_bytes" bigint,
  "blob_key" text,
  "process_types" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "execution_metadata" text NOT NULL DEFAULT '',
  "buildpacks" jsonb NOT NULL DEFAULT '[]'::jsonb,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "droplets_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "droplets_app_guid_idx" ON "droplets" ("app_guid");

CREATE TABLE "processes" (
  "guid" text NOT NULL,
  "app_guid" text NOT NULL,
  "type" text NOT NULL,
  "command" text,
  "instances" integer NOT NULL DEFAULT 1,
  "memory_mb" integer NOT NULL,
  "disk_mb" integer NOT NULL,
  "log_rate_limit" bigint NOT NULL DEFAULT -1,
  "health_check" jsonb NOT NULL,
  "readiness_health_check" jsonb NOT NULL DEFAULT '{"type":"process"}'::jsonb,
  "ports" integer[] NOT NULL DEFAULT '{}',
  "current_spec_guid" text,
  "deployment_guid" text,
  "version" text NOT NULL,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "processes_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "processes_app_guid_idx" ON "processes" ("app_guid");

CREATE TABLE "run_specs" (
  "guid" text NOT NULL,
  "process_guid" text NOT NULL,
  "app_guid" text NOT NULL,
  "version" integer NOT NULL,
  "droplet_guid" text,
  "spec" jsonb NOT NULL,
  "environment_encrypted" jsonb NOT NULL,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "run_specs_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "run_specs_process_guid_version_key" ON "run_specs" ("process_guid", "version");
CREATE INDEX "run_specs_app_guid_idx" ON "run_specs" ("app_guid");

CREATE TABLE "actual_instances" (
  "process_guid" text NOT NULL,
  "spec_version" integer NOT NULL,
  "index" integer NOT NULL,
  "presence" text NOT NULL DEFAULT 'ordinary',
  "app_guid" text NOT NULL,
  "process_type" text NOT NULL,
  "spec_guid" text NOT NULL,
  "instance_guid" text,
  "cell_id" text,
  "state" text NOT NULL,
  "state_since" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "detail" text,
  "placement_error" text,
  "crash_count" integer NOT NULL DEFAULT 0,
  "crash_reason" text,
  "crashed_at" timestamptz(3),
  "routable" boolean NOT NULL DEFAULT false,
  "endpoint" jsonb,
  "stop_phase" text,
  "stop_reason" text,
  "stop_since" timestamptz(3),
  "unrouted_at_revision" bigint,
  "memory_mb" integer NOT NULL,
  "disk_mb" integer NOT NULL,
  "lease_token" bigint NOT NULL DEFAULT 0,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "actual_instances_pkey" PRIMARY KEY ("process_guid", "spec_version", "index", "presence")
);
CREATE INDEX "actual_instances_cell_id_idx" ON "actual_instances" ("cell_id");
CREATE INDEX "actual_instances_app_guid_idx" ON "actual_instances" ("app_guid");

CREATE TABLE "deployments" (
  "guid" text NOT NULL,
  "app_guid" text NOT NULL,
  "strategy" text NOT NULL DEFAULT 'rolling',
  "status_value" text NOT NULL,
  "status_reason" text NOT NULL,
  "detail" text,
  "last_status_change_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "last_healthy_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "droplet_guid" text,
  "previous_droplet_guid" text,
  "old_process_guid" text,
  "new_process_guid" text,
  "options" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "original_instances" integer NOT NULL DEFAULT 1,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "deployments_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "deployments_app_guid_idx" ON "deployments" ("app_guid");
CREATE INDEX "deployments_status_value_idx" ON "deployments" ("status_value");

CREATE TABLE "environment_variable_groups" (
  "name" text NOT NULL,
  "var_encrypted" jsonb,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "environment_variable_groups_pkey" PRIMARY KEY ("name")
);

CREATE TABLE "matched_files" (
  "organization_guid" text NOT NULL,
  "sha1" text NOT NULL,
  "sha256" text NOT NULL,
  "size_bytes" bigint NOT NULL,
  "used_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "matched_files_pkey" PRIMARY KEY ("organization_guid", "sha1")
);

CREATE TABLE "stacks" (
  "guid" text NOT NULL,
  "name" text NOT NULL,
  "description" text NOT NULL DEFAULT '',
  "state" text NOT NULL DEFAULT 'ACTIVE',
  "state_reason" text,
  "is_default" boolean NOT NULL DEFAULT false,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "stacks_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "stacks_name_key" ON "stacks" ("name");

CREATE TABLE "buildpacks" (
  "guid" text NOT NULL,
  "name" text NOT NULL,
  "stack" text,
  "position" integer NOT NULL,
  "enabled" boolean NOT NULL DEFAULT true,
  "locked" boolean NOT NULL DEFAULT false,
  "lifecycle" text NOT NULL DEFAULT 'buildpack',
  "state" text NOT NULL,
  "filename" text,
  "sha256" text,
  "blob_key" text,
  "system" boolean NOT NULL DEFAULT false,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "buildpacks_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "buildpacks_name_idx" ON "buildpacks" ("name");

CREATE TABLE "service_instances" (
  "guid" text NOT NULL,
  "name" text NOT NULL,
  "type" text NOT NULL,
  "space_guid" text NOT NULL,
  "credentials_encrypted" jsonb,
  "tags" text[] NOT NULL DEFAULT '{}',
  "syslog_drain_url" text,
  "route_service_url" text,
  "last_operation" jsonb,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "service_instances_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "service_instances_space_guid_name_key" ON "service_instances" ("space_guid", "name");

CREATE TABLE "credential_bindings" (
  "guid" text NOT NULL,
  "type" text NOT NULL,
  "name" text,
  "service_instance_guid" text NOT NULL,
  "app_guid" text,
  "credentials_encrypted" jsonb,
  "syslog_drain_url" text,
  "volume_mounts" jsonb NOT NULL DEFAULT '[]'::jsonb,
  "last_operation" jsonb,
  "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "annotations" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "credential_bindings_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "credential_bindings_service_instance_guid_idx" ON "credential_bindings" ("service_instance_guid");
CREATE INDEX "credential_bindings_app_guid_idx" ON "credential_bindings" ("app_guid");

CREATE TABLE "jobs" (
  "guid" text NOT NULL,
  "operation" text NOT NULL,
  "state" text NOT NULL DEFAULT 'PROCESSING',
  "resource_type" text,
  "resource_guid" text,
  "params_encrypted" jsonb,
  "errors" jsonb NOT NULL DEFAULT '[]'::jsonb,
  "warnings" jsonb NOT NULL DEFAULT '[]'::jsonb,
  "actor" jsonb,
  "attempts" integer NOT NULL DEFAULT 0,
  "claimed_by" text,
  "claim_token" bigint NOT NULL DEFAULT 0,
  "claim_expires_at" timestamptz(3),
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "jobs_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "jobs_state_idx" ON "jobs" ("state");

CREATE TABLE "audit_events" (
  "guid" text NOT NULL,
  "type" text NOT NULL,
  "actor_guid" text NOT NULL,
  "actor_type" text NOT NULL,
  "actor_name" text NOT NULL,
  "target_guid" text NOT NULL,
  "target_type" text NOT NULL,
  "target_name" text NOT NULL,
  "data" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "space_guid" text,
  "organization_guid" text,
  "sequence" bigserial NOT NULL,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "audit_events_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "audit_events_target_guid_created_at_idx" ON "audit_events" ("target_guid", "created_at");
CREATE INDEX "audit_events_space_guid_created_at_idx" ON "audit_events" ("space_guid", "created_at");
CREATE INDEX "audit_events_created_at_idx" ON "audit_events" ("created_at");

CREATE TABLE "decision_records" (
  "guid" text NOT NULL,
  "kind" text NOT NULL,
  "subject_type" text NOT NULL,
  "subject_guid" text NOT NULL,
  "app_guid" text,
  "summary" text NOT NULL,
  "detail" jsonb NOT NULL DEFAULT '{}'::jsonb,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "decision_records_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "decision_records_subject_guid_created_at_idx" ON "decision_records" ("subject_guid", "created_at");
CREATE INDEX "decision_records_app_guid_created_at_idx" ON "decision_records" ("app_guid", "created_at");

CREATE TABLE "feature_flags" (
  "name" text NOT NULL,
  "enabled" boolean NOT NULL,
  "error_message" text,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "feature_flags_pkey" PRIMARY KEY ("name")
);

CREATE TABLE "cells" (
  "id" text NOT NULL,
  "epoch" text NOT NULL,
  "zone" text NOT NULL DEFAULT 'default',
  "address" text NOT NULL,
  "engine" text NOT NULL,
  "stacks" text[] NOT NULL,
  "memory_mb" integer NOT NULL,
  "disk_mb" integer NOT NULL,
  "max_instances" integer NOT NULL DEFAULT 250,
  "state" text NOT NULL DEFAULT 'active',
  "version" text NOT NULL DEFAULT '',
  "applied_revision" bigint NOT NULL DEFAULT 0,
  "registered_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "last_seen_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "cells_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "routers" (
  "id" text NOT NULL,
  "feed_epoch" bigint NOT NULL DEFAULT 0,
  "applied_revision" bigint NOT NULL DEFAULT 0,
  "last_seen_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "routers_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "withdrawn_endpoints" (
  "cell_id" text NOT NULL,
  "address" text NOT NULL,
  "app_guid" text NOT NULL,
  "feed_epoch" bigint NOT NULL,
  "feed_revision" bigint NOT NULL,
  "withdrawn_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "withdrawn_endpoints_pkey" PRIMARY KEY ("cell_id", "address")
);

ALTER TABLE "refresh_tokens" ADD CONSTRAINT "refresh_tokens_user_guid_fkey" FOREIGN KEY ("user_guid") REFERENCES "users" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "roles" ADD CONSTRAINT "roles_user_guid_fkey" FOREIGN KEY ("user_guid") REFERENCES "users" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "roles" ADD CONSTRAINT "roles_organization_guid_fkey" FOREIGN KEY ("organization_guid") REFERENCES "organizations" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "roles" ADD CONSTRAINT "roles_space_guid_fkey" FOREIGN KEY ("space_guid") REFERENCES "spaces" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "space_quotas" ADD CONSTRAINT "space_quotas_organization_guid_fkey" FOREIGN KEY ("organization_guid") REFERENCES "organizations" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "organizations" ADD CONSTRAINT "organizations_quota_guid_fkey" FOREIGN KEY ("quota_guid") REFERENCES "organization_quotas" ("guid") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "spaces" ADD CONSTRAINT "spaces_organization_guid_fkey" FOREIGN KEY ("organization_guid") REFERENCES "organizations" ("guid") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "spaces" ADD CONSTRAINT "spaces_quota_guid_fkey" FOREIGN KEY ("quota_guid") REFERENCES "space_quotas" ("guid") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "domains" ADD CONSTRAINT "domains_organization_guid_fkey" FOREIGN KEY ("organization_guid") REFERENCES "organizations" ("guid") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "domain_sharings" ADD CONSTRAINT "domain_sharings_domain_guid_fkey" FOREIGN KEY ("domain_guid") REFERENCES "domains" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "domain_sharings" ADD CONSTRAINT "domain_sharings_organization_guid_fkey" FOREIGN KEY ("organization_guid") REFERENCES "organizations" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "routes" ADD CONSTRAINT "routes_domain_guid_fkey" FOREIGN KEY ("domain_guid") REFERENCES "domains" ("guid") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "routes" ADD CONSTRAINT "routes_space_guid_fkey" FOREIGN KEY ("space_guid") REFERENCES "spaces" ("guid") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "route_destinations" ADD CONSTRAINT "route_destinations_route_guid_fkey" FOREIGN KEY ("route_guid") REFERENCES "routes" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "route_destinations" ADD CONSTRAINT "route_destinations_app_guid_fkey" FOREIGN KEY ("app_guid") REFERENCES "apps" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "apps" ADD CONSTRAINT "apps_space_guid_fkey" FOREIGN KEY ("space_guid") REFERENCES "spaces" ("guid") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "apps" ADD CONSTRAINT "apps_current_droplet_guid_fkey" FOREIGN KEY ("current_droplet_guid") REFERENCES "droplets" ("guid") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "packages" ADD CONSTRAINT "packages_app_guid_fkey" FOREIGN KEY ("app_guid") REFERENCES "apps" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "builds" ADD CONSTRAINT "builds_app_guid_fkey" FOREIGN KEY ("app_guid") REFERENCES "apps" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "builds" ADD CONSTRAINT "builds_package_guid_fkey" FOREIGN KEY ("package_guid") REFERENCES "packages" ("guid") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "droplets" ADD CONSTRAINT "droplets_app_guid_fkey" FOREIGN KEY ("app_guid") REFERENCES "apps" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "droplets" ADD CONSTRAINT "droplets_package_guid_fkey" FOREIGN KEY ("package_guid") REFERENCES "packages" ("guid") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "processes" ADD CONSTRAINT "processes_app_guid_fkey" FOREIGN KEY ("app_guid") REFERENCES "apps" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "run_specs" ADD CONSTRAINT "run_specs_app_guid_fkey" FOREIGN KEY ("app_guid") REFERENCES "apps" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "deployments" ADD CONSTRAINT "deployments_app_guid_fkey" FOREIGN KEY ("app_guid") REFERENCES "apps" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "matched_files" ADD CONSTRAINT "matched_files_organization_guid_fkey" FOREIGN KEY ("organization_guid") REFERENCES "organizations" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "service_instances" ADD CONSTRAINT "service_instances_space_guid_fkey" FOREIGN KEY ("space_guid") REFERENCES "spaces" ("guid") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "credential_bindings" ADD CONSTRAINT "credential_bindings_service_instance_guid_fkey" FOREIGN KEY ("service_instance_guid") REFERENCES "service_instances" ("guid") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "credential_bindings" ADD CONSTRAINT "credential_bindings_app_guid_fkey" FOREIGN KEY ("app_guid") REFERENCES "apps" ("guid") ON DELETE SET NULL ON UPDATE CASCADE;

-- One build in STAGING per app; one active deployment per app.
CREATE UNIQUE INDEX "builds_one_staging_per_app" ON "builds" ("app_guid") WHERE "state" = 'STAGING';
CREATE UNIQUE INDEX "deployments_one_active_per_app" ON "deployments" ("app_guid") WHERE "status_value" = 'ACTIVE';
-- App and space names are unique without regard to case, as in the reference.
CREATE UNIQUE INDEX "apps_space_name_ci" ON "apps" ("space_guid", lower("name"));
CREATE UNIQUE INDEX "organizations_name_ci" ON "organizations" (lower("name"));
CREATE UNIQUE INDEX "spaces_name_ci" ON "spaces" ("organization_guid", lower("name"));
CREATE UNIQUE INDEX "domains_name_ci" ON "domains" (lower("name"));
CREATE UNIQUE INDEX "users_username_ci" ON "users" (lower("username"), "origin");
