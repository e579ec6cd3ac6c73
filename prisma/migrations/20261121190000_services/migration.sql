-- Service brokers, their catalogs, what is made from them, and the work under way.

CREATE TABLE "service_brokers" (
  "guid" text NOT NULL,
  "name" text NOT NULL,
  "url" text NOT NULL,
  "username" text NOT NULL,
  "password_encrypted" jsonb NOT NULL,
  "space_guid" text,
  "state" text NOT NULL,
  "labels" jsonb NOT NULL DEFAULT '{}',
  "annotations" jsonb NOT NULL DEFAULT '{}',
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "service_brokers_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "service_brokers_name_key" ON "service_brokers" ("name");
CREATE INDEX "service_brokers_space_guid_idx" ON "service_brokers" ("space_guid");

CREATE TABLE "service_offerings" (
  "guid" text NOT NULL,
  "broker_guid" text NOT NULL,
  "catalog_id" text NOT NULL,
  "name" text NOT NULL,
  "description" text NOT NULL,
  "available" boolean NOT NULL DEFAULT true,
  "bindable" boolean NOT NULL,
  "plan_updateable" boolean NOT NULL DEFAULT false,
  "instances_retrievable" boolean NOT NULL DEFAULT false,
  "bindings_retrievable" boolean NOT NULL DEFAULT false,
  "allow_context_updates" boolean NOT NULL DEFAULT false,
  "tags" text[] NOT NULL DEFAULT ARRAY[]::text[],
  "requires" text[] NOT NULL DEFAULT ARRAY[]::text[],
  "catalog_metadata" jsonb NOT NULL DEFAULT '{}',
  "dashboard_client" jsonb,
  "labels" jsonb NOT NULL DEFAULT '{}',
  "annotations" jsonb NOT NULL DEFAULT '{}',
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "service_offerings_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "service_offerings_broker_guid_catalog_id_key" ON "service_offerings" ("broker_guid", "catalog_id");
CREATE INDEX "service_offerings_name_idx" ON "service_offerings" ("name");

CREATE TABLE "service_plans" (
  "guid" text NOT NULL,
  "offering_guid" text NOT NULL,
  "catalog_id" text NOT NULL,
  "name" text NOT NULL,
  "description" text NOT NULL,
  "free" boolean NOT NULL DEFAULT true,
  "active" boolean NOT NULL DEFAULT true,
  "bindable" boolean,
  "plan_updateable" boolean,
  "catalog_metadata" jsonb NOT NULL DEFAULT '{}',
  "schemas" jsonb NOT NULL DEFAULT '{}',
  "maximum_polling_duration" integer,
  "maintenance_info" jsonb,
  "binding_rotatable" boolean NOT NULL DEFAULT false,
  "visibility_type" text NOT NULL DEFAULT 'admin',
  "labels" jsonb NOT NULL DEFAULT '{}',
  "annotations" jsonb NOT NULL DEFAULT '{}',
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "service_plans_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "service_plans_offering_guid_catalog_id_key" ON "service_plans" ("offering_guid", "catalog_id");

CREATE TABLE "service_plan_visibilities" (
  "plan_guid" text NOT NULL,
  "organization_guid" text NOT NULL,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "service_plan_visibilities_pkey" PRIMARY KEY ("plan_guid", "organization_guid")
);
CREATE INDEX "service_plan_visibilities_organization_guid_idx" ON "service_plan_visibilities" ("organization_guid");

CREATE TABLE "service_operations" (
  "guid" text NOT NULL,
  "resource_type" text NOT NULL,
  "resource_guid" text NOT NULL,
  "service_instance_guid" text NOT NULL,
  "type" text NOT NULL,
  "broker_guid" text,
  "phase" text NOT NULL DEFAULT 'requested',
  "params_encrypted" jsonb,
  "broker_operation" text,
  "sent_at" timestamptz(3),
  "job_guid" text,
  "actor" jsonb,
  "polls" integer NOT NULL DEFAULT 0,
  "next_run_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "deadline_at" timestamptz(3),
  "claimed_by" text,
  "claim_token" bigint NOT NULL DEFAULT 0,
  "claim_expires_at" timestamptz(3),
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "service_operations_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "service_operations_resource_type_resource_guid_type_key" ON "service_operations" ("resource_type", "resource_guid", "type");
CREATE INDEX "service_operations_service_instance_guid_idx" ON "service_operations" ("service_instance_guid");
CREATE INDEX "service_operations_broker_guid_next_run_at_idx" ON "service_operations" ("broker_guid", "next_run_at");

CREATE TABLE "orphan_mitigations" (
  "guid" text NOT NULL,
  "kind" text NOT NULL,
  "service_instance_guid" text NOT NULL,
  "binding_guid" text,
  "broker_guid" text NOT NULL,
  "service_catalog_id" text NOT NULL,
  "plan_catalog_id" text NOT NULL,
  "reason" text NOT NULL,
  "attempts" integer NOT NULL DEFAULT 0,
  "next_attempt_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "last_error" text,
  "given_up_at" timestamptz(3),
  "claimed_by" text,
  "claim_token" bigint NOT NULL DEFAULT 0,
  "claim_expires_at" timestamptz(3),
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "orphan_mitigations_pkey" PRIMARY KEY ("guid")
);
CREATE INDEX "orphan_mitigations_next_attempt_at_idx" ON "orphan_mitigations" ("next_attempt_at");
CREATE INDEX "orphan_mitigations_broker_guid_idx" ON "orphan_mitigations" ("broker_guid");

CREATE TABLE "route_bindings" (
  "guid" text NOT NULL,
  "route_guid" text NOT NULL,
  "service_instance_guid" text NOT NULL,
  "route_service_url" text,
  "last_operation" jsonb,
  "labels" jsonb NOT NULL DEFAULT '{}',
  "annotations" jsonb NOT NULL DEFAULT '{}',
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "route_bindings_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "route_bindings_route_guid_key" ON "route_bindings" ("route_guid");
CREATE INDEX "route_bindings_service_instance_guid_idx" ON "route_bindings" ("service_instance_guid");

CREATE TABLE "route_service_keys" (
  "guid" text NOT NULL,
  "secret_encrypted" jsonb NOT NULL,
  "expires_at" timestamptz(3),
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "route_service_keys_pkey" PRIMARY KEY ("guid")
);

CREATE TABLE "service_instance_sharings" (
  "service_instance_guid" text NOT NULL,
  "space_guid" text NOT NULL,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "service_instance_sharings_pkey" PRIMARY KEY ("service_instance_guid", "space_guid")
);
CREATE INDEX "service_instance_sharings_space_guid_idx" ON "service_instance_sharings" ("space_guid");

ALTER TABLE "service_instances"
  ADD COLUMN "plan_guid" text,
  ADD COLUMN "dashboard_url" text,
  ADD COLUMN "maintenance_info" jsonb,
  ADD COLUMN "broker_metadata" jsonb NOT NULL DEFAULT '{}';
CREATE INDEX "service_instances_plan_guid_idx" ON "service_instances" ("plan_guid");
ALTER TABLE "credential_bindings" ADD COLUMN "broker_metadata" jsonb NOT NULL DEFAULT '{}';

ALTER TABLE "service_brokers" ADD CONSTRAINT "service_brokers_space_guid_fkey" FOREIGN KEY ("space_guid") REFERENCES "spaces" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "service_offerings" ADD CONSTRAINT "service_offerings_broker_guid_fkey" FOREIGN KEY ("broker_guid") REFERENCES "service_brokers" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "service_plans" ADD CONSTRAINT "service_plans_offering_guid_fkey" FOREIGN KEY ("offering_guid") REFERENCES "service_offerings" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "service_plan_visibilities" ADD CONSTRAINT "service_plan_visibilities_plan_guid_fkey" FOREIGN KEY ("plan_guid") REFERENCES "service_plans" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "service_plan_visibilities" ADD CONSTRAINT "service_plan_visibilities_organization_guid_fkey" FOREIGN KEY ("organization_guid") REFERENCES "organizations" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "route_bindings" ADD CONSTRAINT "route_bindings_service_instance_guid_fkey" FOREIGN KEY ("service_instance_guid") REFERENCES "service_instances" ("guid") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "route_bindings" ADD CONSTRAINT "route_bindings_route_guid_fkey" FOREIGN KEY ("route_guid") REFERENCES "routes" ("guid") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "service_instance_sharings" ADD CONSTRAINT "service_instance_sharings_service_instance_guid_fkey" FOREIGN KEY ("service_instance_guid") REFERENCES "service_instances" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "service_instance_sharings" ADD CONSTRAINT "service_instance_sharings_space_guid_fkey" FOREIGN KEY ("space_guid") REFERENCES "spaces" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "service_instances" ADD CONSTRAINT "service_instances_plan_guid_fkey" FOREIGN KEY ("plan_guid") REFERENCES "service_plans" ("guid") ON DELETE RESTRICT ON UPDATE CASCADE;

-- Bindings as files.
ALTER TABLE "apps" ADD COLUMN "file_based_vcap_services" BOOLEAN NOT NULL DEFAULT false,
ADD COLUMN "service_binding_k8s" BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE "run_specs" ADD COLUMN "files_encrypted" JSONB;
ALTER TABLE "builds" ADD COLUMN "files_encrypted" JSONB;

-- What brokers say of instances after a failure.
ALTER TABLE "service_instances" ADD COLUMN "usable" boolean NOT NULL DEFAULT true,
ADD COLUMN "refused_update_encrypted" jsonb;

-- Single sign-on for the dashboards of brokers.
CREATE TABLE "login_sessions" (
  "token_hash" text NOT NULL,
  "user_guid" text NOT NULL,
  "expires_at" timestamptz(3) NOT NULL,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "login_sessions_pkey" PRIMARY KEY ("token_hash")
);
CREATE INDEX "login_sessions_user_guid_idx" ON "login_sessions" ("user_guid");
CREATE TABLE "authorization_codes" (
  "code_hash" text NOT NULL,
  "client_id" text NOT NULL,
  "user_guid" text NOT NULL,
  "redirect_uri" text NOT NULL,
  "scopes" text[] NOT NULL,
  "code_challenge" text,
  "nonce" text,
  "expires_at" timestamptz(3) NOT NULL,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "authorization_codes_pkey" PRIMARY KEY ("code_hash")
);
CREATE INDEX "authorization_codes_user_guid_idx" ON "authorization_codes" ("user_guid");
CREATE INDEX "authorization_codes_client_id_idx" ON "authorization_codes" ("client_id");
CREATE TABLE "oauth_approvals" (
  "user_guid" text NOT NULL,
  "client_id" text NOT NULL,
  "scopes" text[] NOT NULL,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "oauth_approvals_pkey" PRIMARY KEY ("user_guid", "client_id")
);
CREATE INDEX "oauth_approvals_client_id_idx" ON "oauth_approvals" ("client_id");
ALTER TABLE "login_sessions" ADD CONSTRAINT "login_sessions_user_guid_fkey" FOREIGN KEY ("user_guid") REFERENCES "users" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "authorization_codes" ADD CONSTRAINT "authorization_codes_user_guid_fkey" FOREIGN KEY ("user_guid") REFERENCES "users" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "authorization_codes" ADD CONSTRAINT "authorization_codes_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "oauth_clients" ("client_id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "oauth_approvals" ADD CONSTRAINT "oauth_approvals_user_guid_fkey" FOREIGN KEY ("user_guid") REFERENCES "users" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "oauth_approvals" ADD CONSTRAINT "oauth_approvals_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "oauth_clients" ("client_id") ON DELETE CASCADE ON UPDATE CASCADE;
