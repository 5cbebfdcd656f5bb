-- Create the database, with the collation of text in Delta tables (UTF-8), and the schema of the views.
IF NOT EXISTS (SELECT * FROM sys.databases WHERE name = '$(database)')
    CREATE DATABASE [$(database)] COLLATE Latin1_General_100_BIN2_UTF8;
GO

USE [$(database)];
GO

IF SCHEMA_ID('sales') IS NULL
    EXEC ('CREATE SCHEMA [sales]');
GO
