-- Create the roles and their permissions. Add a member: ALTER ROLE [cdp_readers] ADD MEMBER [<user or group>];
USE [$(database)];
GO

IF DATABASE_PRINCIPAL_ID('cdp_readers') IS NULL
    CREATE ROLE [cdp_readers];
GO

IF DATABASE_PRINCIPAL_ID('cdp_admins') IS NULL
    CREATE ROLE [cdp_admins];
GO

-- Readers query the views and cannot query files directly, so the views alone decide what readers see.
GRANT SELECT ON SCHEMA::[sales] TO [cdp_readers];
GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::[workspace_identity] TO [cdp_readers];
DENY ADMINISTER DATABASE BULK OPERATIONS TO [cdp_readers];
GO

-- Admins replace views and choose the readers. They can read all copied files.
GRANT CONTROL ON SCHEMA::[sales] TO [cdp_admins];
GRANT CREATE VIEW TO [cdp_admins];
GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::[workspace_identity] TO [cdp_admins];
GRANT ADMINISTER DATABASE BULK OPERATIONS TO [cdp_admins];
GRANT ALTER ON ROLE::[cdp_readers] TO [cdp_admins];
GO
